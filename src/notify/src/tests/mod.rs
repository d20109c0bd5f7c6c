//! Pushers over the memory store, with rooms, gateways and time as a test says.

mod delivery;
mod parts;

//! What other servers read, asked for by whole servers.

mod queries;
mod reads;

//! What other servers read, asked for by whole servers.

mod limits;
mod queries;
mod reads;

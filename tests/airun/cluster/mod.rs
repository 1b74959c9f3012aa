//! Servers that replicate.

mod galera;

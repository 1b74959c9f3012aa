//! Tests on servers that replicate.

mod galera;

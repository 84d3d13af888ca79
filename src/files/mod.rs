//! Files: what is written is whole before it has its name, and what is read is checked to its end.

pub mod atomic;

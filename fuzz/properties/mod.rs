//! What must hold for any bytes at all: one function for each fuzz target, which the target and the regression test share.

pub(crate) mod archive;
pub(crate) mod drip;
pub(crate) mod dump;
pub(crate) mod lexer;
pub(crate) mod manifest;
pub(crate) mod room;

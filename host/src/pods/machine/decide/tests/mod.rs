//! A table for each rule, on a stage that has an engine and no clock of its own.

mod adopt;
mod close;
mod errors;
mod image;
mod order;
mod probe;
mod restart;
mod sandbox;

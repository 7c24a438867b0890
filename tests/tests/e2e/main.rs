//! Every behaviour against a real control plane, with the real program and the mock as a component. One program, so that all
//! tests share one control plane; a test that breaks it starts its own.

#![allow(missing_docs, reason = "tests are named after what they show")]
#![allow(clippy::indexing_slicing, reason = "clippy does not take the helpers of tests for tests")]

mod auth;
mod bad_input;
mod cli;
mod endpoints;
mod environment;
mod faults;
mod hostile;
mod logs;
mod metrics_server;
mod node;
mod once;
mod outage;
mod pods;
mod restart;
mod scenarios;
mod swap;
mod tokens;
mod volumes;
mod workloads;

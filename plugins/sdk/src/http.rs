//! HTTP to what the operator granted.
//!
//! ```
//! # use vk_provider::testing::{self, Answer};
//! # testing::reset();
//! # testing::serve(|asked| match asked.path() {
//! #     "/containers/json" => Answer::status(200).body(r#"[{"Id":"4f"}]"#),
//! #     _ => Answer::status(200).body("{\"status\":\"start\"}\n{\"status\":\"die\"}\n"),
//! # });
//! use vk_provider::http::Endpoint;
//! use vk_provider::serde_json::Value;
//!
//! let engine = Endpoint::named("engine");
//! let all: Vec<Value> = engine.get("/containers/json").query("all", "true").send()?.success()?.json()?;
//! assert_eq!(all[0]["Id"], "4f");
//!
//! // As it comes, line by line; each wait ends when the host wants the call to end.
//! let mut events = engine.get("/events").send()?.success()?.body.lines(1 << 20);
//! while let Some(line) = events.read()? {
//!     println!("{}", String::from_utf8_lossy(&line));
//! }
//! # Ok::<_, vk_provider::Error>(())
//! ```
//!
//! **What a failure says.** [`Request::send`] fails when there is no answer; what a status means is asked for
//! separately ([`Response::success`], [`Response::error`]). Both become an [`Error`](crate::Error) with `?`, of effect
//! `none` where the host may repeat the call without a look: nothing of the request left (not granted, name,
//! connection, TLS), or it changes nothing (`GET`), or it was refused (4xx), *and* no request before it in this call
//! may have changed anything, nor a write to the store that is kept. Everything else is of unknown effect. What the call
//! did otherwise only its author knows ([`Error::effect_unknown`](crate::Error::effect_unknown)).
//!
//! **Trying again** is [`Retry`], which keeps to that.

mod body;
mod code;
mod endpoint;
mod failure;
mod headers;
mod request;
mod response;
mod retry;
#[cfg(test)]
mod tests;
mod upload;
mod url;

pub use body::{Body, Lines};
pub use code::ErrorCode;
pub use endpoint::Endpoint;
pub use failure::{Cause, Failure};
pub use headers::Headers;
pub use request::Request;
pub use response::{Conflict, Response};
pub use retry::Retry;
pub use upload::Upload;
pub use url::encode;

pub(crate) use request::{Limits, Outgoing, Unsent};

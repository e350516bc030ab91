//! The OAuth 2.0 Authorization Framework.

mod authorize;
mod client;
mod code;
mod refresh;
mod scope;
mod service;
mod token;

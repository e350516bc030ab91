//! Floor 0: what the OAuth 2.0 and OIDC specifications say to any server.
//!
//! Every type here is made by parsing what arrived, so inside a program the type is the proof. Nothing reads a clock,
//! a file or a socket; the only randomness is inside key generation and the randomised signatures.

pub mod auth_header;
pub mod authorize;
pub mod basic;
pub mod bearer;
pub mod client;
pub mod jose;
pub mod metadata;
pub mod params;
pub mod pkce;
pub mod redirect;
pub mod scope;
pub mod secret;
pub mod token;

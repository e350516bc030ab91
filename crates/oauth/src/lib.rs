//! Floor 0: the OAuth 2.0 and OIDC specifications, independent of a server.
//!
//! Types are created by parsing input, so a value of a type is proof that the input was valid. No code reads a clock, a
//! file or a socket. Randomness is used only in key generation and the randomised signatures.

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

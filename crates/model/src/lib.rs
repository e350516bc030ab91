//! Floor 1: Gatehouse's types, states and decisions. No I/O, no clock, no randomness.

mod addresses;
pub mod application;
pub mod audit;
pub mod authorization;
pub mod authorize;
pub mod claims;
mod context;
pub mod email_change;
pub mod entities;
pub mod exchange;
pub mod fair;
pub mod guard;
mod host;
mod ids;
pub mod install;
pub mod instance;
pub mod keys;
pub mod language;
pub mod legacy;
pub mod line;
pub mod link;
pub mod mail;
pub mod meter;
pub mod pending_authorization;
pub mod reference_token;
pub mod refusal;
pub mod seat;
pub mod session;
pub mod stored;
pub mod throttle;
pub mod two_step;
pub mod user;
pub mod validity;

pub use application::{AuthenticatedClient, ClientType, TrustedApplication};
pub use authorization::{Authorization, AuthorizationState, Generation};
pub use context::{Ctx, Moment, Rng, Timestamp};
pub use host::{HostName, HostNameError};
pub use ids::{
    ApiSessionId, ApplicationId, AuthorizationId, InstanceId, PasskeyId, ReferenceTokenId, SessionId, UserId,
};
pub use instance::{AfterLogout, InstanceSettings, RootUrl};
pub use language::{Culture, Language};
pub use session::{IdentitySession, SessionLifetimes};
pub use user::{Email, Login, User, UserType};

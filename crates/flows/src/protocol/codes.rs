//! The form of authorization codes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::AuthorizationId;
use oauth::secret::{AuthorizationCode, Presented};
use uuid::Uuid;

/// Encodes the row id, for lookup by key, and 256 random bits, so that a code cannot be guessed.
pub(crate) fn encode_code(id: AuthorizationId, secret: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode([id.0.as_bytes().as_slice(), secret].concat())
}

/// The authorization id in a code. Proves nothing.
pub(crate) fn authorization_of(code: &Presented<AuthorizationCode>) -> Option<AuthorizationId> {
    let bytes = URL_SAFE_NO_PAD.decode(code.expose()).ok()?;
    let id = bytes.get(..16).filter(|_| bytes.len() == 48)?;
    Uuid::from_slice(id).ok().map(AuthorizationId)
}

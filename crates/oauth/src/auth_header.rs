//! What the schemes of `Authorization` and `WWW-Authenticate` share (RFC 9110 §11).

/// The scheme and what follows it, without blanks around (RFC 9110 §11.4). The scheme's case does not matter (§11.1).
pub fn split_scheme(authorization: &[u8]) -> (&[u8], &[u8]) {
    match authorization.iter().position(|&byte| byte == b' ') {
        Some(space) => (&authorization[..space], authorization[space..].trim_ascii()),
        None => (authorization, &[]),
    }
}

/// RFC 6750 §3 forbids `"` and `\` in these values even escaped; they and everything unprintable become `?`.
pub(crate) fn quotable(text: &str) -> String {
    let allowed = |character: char| matches!(character, ' '..='~') && character != '"' && character != '\\';
    text.chars().map(|character| if allowed(character) { character } else { '?' }).collect()
}

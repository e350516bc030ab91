//! A device's name from its `User-Agent`: enough for users to recognise their own.

use crate::messages::Messages;

/// The common names of browser and system. Unknown ones are not guessed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeviceName {
    browser: Option<&'static str>,
    system: Option<&'static str>,
}

/// The order matters: Edge, for example, also claims to be Chrome and Safari.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];

const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
    ("X11", "Unix"),
];

impl DeviceName {
    pub(super) fn of(user_agent: &str) -> Self {
        let first = |known: &[(&str, &'static str)]| {
            known.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
        };
        Self { browser: first(&BROWSERS), system: first(&SYSTEMS) }
    }

    pub(super) fn name(&self, messages: &Messages) -> String {
        match (self.browser, self.system) {
            (Some(browser), Some(system)) => (messages.sessions.browser_on)(browser, system),
            (Some(name), None) | (None, Some(name)) => name.to_owned(),
            (None, None) => messages.sessions.unknown_device.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Language;

    use super::*;
    use crate::messages;

    #[test]
    fn a_device_is_called_what_people_call_it() {
        let name = |user_agent| DeviceName::of(user_agent).name(messages::of(Language::English));
        for (user_agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("curl/8.5.0", "curl"),
            ("", "Unknown device"),
            ("<script>alert(1)</script>", "Unknown device"),
        ] {
            assert_eq!(name(user_agent), expected);
        }
    }
}

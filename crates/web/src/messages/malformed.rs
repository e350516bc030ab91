//! Texts about malformed requests, in each language.

use oauth::authorize::TargetError;

/// Texts about a parameter follow its name.
pub struct MalformedMessages {
    pub(crate) parameter: &'static str,
    pub(crate) some_parameter: &'static str,
    pub(crate) is_missing: &'static str,
    pub(crate) is_wrong: &'static str,
    pub(crate) is_repeated: &'static str,
    pub(crate) is_too_long: &'static str,
    pub(crate) is_not_text: &'static str,
    pub(crate) is_badly_encoded: &'static str,
    pub(crate) too_many_parameters: &'static str,
    pub(crate) too_large: &'static str,
    pub(crate) unfinished: &'static str,
    pub(crate) encoded: &'static str,
    pub(crate) not_a_form: &'static str,
    pub(crate) not_multipart: &'static str,
}

impl MalformedMessages {
    pub(crate) fn target(&self, error: &TargetError) -> String {
        let (name, what) = match error {
            TargetError::ClientIdMissing => ("client_id", self.is_missing),
            TargetError::ClientIdMalformed => ("client_id", self.is_wrong),
            TargetError::ClientIdRepeated => ("client_id", self.is_repeated),
            TargetError::RedirectUriMissing { .. } => ("redirect_uri", self.is_missing),
            TargetError::RedirectUriRepeated { .. } => ("redirect_uri", self.is_repeated),
        };
        self.of(Some(name), what)
    }

    pub(crate) fn of(&self, parameter: Option<&str>, what: &str) -> String {
        match parameter {
            Some(name) => format!("{} {name} {what}", self.parameter),
            None => format!("{} {what}", self.some_parameter),
        }
    }
}

pub(super) const ENGLISH: MalformedMessages = MalformedMessages {
    parameter: "the parameter",
    some_parameter: "a parameter",
    is_missing: "is missing",
    is_wrong: "is malformed",
    is_repeated: "must not be repeated",
    is_too_long: "is too long",
    is_not_text: "is not valid UTF-8",
    is_badly_encoded: "is not correctly percent-encoded",
    too_many_parameters: "there are too many parameters",
    too_large: "the request is too large",
    unfinished: "the request was incomplete",
    encoded: "the request body is compressed",
    not_a_form: "the request is not a form",
    not_multipart: "the request is not a form with a file",
};

pub(super) const GERMAN: MalformedMessages = MalformedMessages {
    parameter: "der Parameter",
    some_parameter: "ein Parameter",
    is_missing: "fehlt",
    is_wrong: "ist fehlerhaft",
    is_repeated: "darf nicht mehrfach vorkommen",
    is_too_long: "ist zu lang",
    is_not_text: "ist kein gültiges UTF-8",
    is_badly_encoded: "ist nicht richtig prozentkodiert",
    too_many_parameters: "die Anfrage hat zu viele Parameter",
    too_large: "die Anfrage ist zu groß",
    unfinished: "die Anfrage ist unvollständig",
    encoded: "der Inhalt der Anfrage ist komprimiert",
    not_a_form: "die Anfrage ist kein Formular",
    not_multipart: "die Anfrage ist kein Formular mit einer Datei",
};

pub(super) const BULGARIAN: MalformedMessages = MalformedMessages {
    parameter: "параметърът",
    some_parameter: "един от параметрите",
    is_missing: "липсва",
    is_wrong: "е неправилен",
    is_repeated: "не бива да се повтаря",
    is_too_long: "е твърде дълъг",
    is_not_text: "не е валиден UTF-8",
    is_badly_encoded: "не е правилно кодиран с проценти",
    too_many_parameters: "параметрите са твърде много",
    too_large: "заявката е твърде голяма",
    unfinished: "заявката е непълна",
    encoded: "съдържанието на заявката е компресирано",
    not_a_form: "заявката не е формуляр",
    not_multipart: "заявката не е формуляр с файл",
};

//! A minimal HTTP client that shares no code with the product: one request per connection, over loopback.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::PATIENCE;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A member of a JSON answer.
    pub(crate) fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
    }

    /// A parameter in the answer's `Location`.
    pub(crate) fn location_param(&self, name: &str) -> String {
        let location = self.header("location").unwrap_or_else(|| panic!("leads nowhere: {self:?}"));
        let url = url::Url::parse(location).unwrap_or_else(|error| panic!("{error}: {location}"));
        let found = url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        found.unwrap_or_else(|| panic!("no {name}: {location}"))
    }

    /// A hidden field of the page's first form.
    pub(crate) fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let at = self.body.find(&start).unwrap_or_else(|| panic!("no field {name}: {self:?}")) + start.len();
        self.body[at..].split('"').next().expect("split gives one at least").to_owned()
    }
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// One server under one host name.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub(crate) port: u16,
    pub(crate) host: &'static str,
}

impl Site {
    pub(crate) fn get(self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "").expect("an answer")
    }

    pub(crate) fn post(self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        self.try_post(path, headers, fields).expect("an answer")
    }

    /// For a server that may die during the answer.
    pub(crate) fn try_post(self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> io::Result<Answer> {
        let content = ("Content-Type", "application/x-www-form-urlencoded");
        self.ask("POST", path, &[headers, &[content]].concat(), &form(fields))
    }

    pub(crate) fn post_json(self, path: &str, body: &Value) -> Answer {
        let content = [("Content-Type", "application/json")];
        self.ask("POST", path, &content, &body.to_string()).expect("an answer")
    }

    fn ask(self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        let mut connection = self.connect()?;
        connection.write_all(self.head(method, path, headers, body.len()).as_bytes())?;
        connection.write_all(body.as_bytes())?;
        read(connection)
    }

    pub(crate) fn connect(self) -> io::Result<TcpStream> {
        let connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    pub(crate) fn head(self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\nContent-Length: {length}\r\n",
            self.host, self.port
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head + "\r\n"
    }
}

/// Reads the answer from a connection that the server closes after it.
pub(crate) fn read(mut connection: TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer =
        Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, headers: headers.collect(), body: body.to_owned() };
    // A truncated answer counts as none.
    match answer.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length != answer.body.len() => Err(io::ErrorKind::UnexpectedEof.into()),
        None if answer.status == 200 && !answer.body.ends_with("0\r\n\r\n") => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(answer),
    }
}

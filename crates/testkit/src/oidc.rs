//! A real OpenID provider (oidc-provider, on Node.js), and a browser that signs in there.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use serde_json::{Value, json};

/// Most redirects a browser follows there.
const MOST_STEPS: usize = 10;

/// A provider on loopback. Dropped, it ends.
pub struct OidcProvider {
    child: Child,
    stdin: Option<ChildStdin>,
    port: u16,
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.stdin.take());
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl OidcProvider {
    /// Starts one that knows a client by this id and secret, and these people: claims by subject.
    ///
    /// # Panics
    /// When Node.js or oidc-provider is not installed (`scripts/setup.sh --services`), or does not start.
    pub fn start((client_id, client_secret): (&str, &str), redirect_uris: &[&str], people: &Value) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc-provider");
        let settings = json!({
            "client_id": client_id, "client_secret": client_secret, "redirect_uris": redirect_uris, "people": people,
        });
        let mut child = Command::new("node")
            .arg("server.mjs")
            .arg(settings.to_string())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is missing: run scripts/setup.sh --services");
        let stdin = child.stdin.take();
        let mut first = String::new();
        let read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut first);
        let port = first.trim().strip_prefix("PORT ").and_then(|port| port.parse().ok());
        let Some(port) = port.filter(|_| read.is_ok()) else {
            _ = child.wait();
            panic!("oidc-provider is missing or did not start: run scripts/setup.sh --services");
        };
        Self { child, stdin, port }
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Goes where a client sent a browser, as this person (`nobody` says no), until the provider sends it away: to there.
    ///
    /// # Panics
    /// When the provider does not send it anywhere.
    pub fn visit(&self, url: &str, person: &str) -> String {
        let mut cookies = BTreeMap::from([("person".to_owned(), person.to_owned())]);
        let mut at = url.to_owned();
        for _ in 0..MOST_STEPS {
            let Some(path) = at.strip_prefix(&self.issuer()) else { return at };
            let (location, set) = self.get(path, &cookies);
            cookies.extend(set);
            at = if location.starts_with('/') { format!("{}{location}", self.issuer()) } else { location };
        }
        panic!("the provider goes round in circles at {at}");
    }

    /// Where a page sends a browser, and what it keeps.
    fn get(&self, path: &str, cookies: &BTreeMap<String, String>) -> (String, Vec<(String, String)>) {
        let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let host = format!("127.0.0.1:{}", self.port);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\ncookie: {}\r\nconnection: close\r\n\r\n",
            cookies.join("; ")
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let fields: Vec<(String, &str)> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let location = fields.iter().find(|(name, _)| name == "location");
        let location = location.unwrap_or_else(|| panic!("{path} sends nobody anywhere: {head}\n{body}")).1.to_owned();
        let set = fields.iter().filter(|(name, _)| name == "set-cookie");
        let set = set.filter_map(|(_, value)| value.split(';').next()?.split_once('='));
        (location, set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

//! The declarative file, read from disk.
//!
//! [`domain::declarative`] holds the form and most rules. Here come what it cannot see: several files of a folder read
//! as one, the files that they name (relative to the folder they stand in), ties between routes, and the key sets of
//! issuers. Every mistake has its file, line and key path.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use authn::{Authorities, Jwks};
use authz::{RouteTableBuilder, Tie};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    ServiceId,
    declarative::{Declared, Examined, Place, Problem, RawFile, ReadAs, examine},
    snapshot::{Entity, Hostname, Issuer, Route, Service},
};

use crate::file::{Document, KeyPath, Mistake, Mistakes, Overrides, Readable, load as load_file};

/// Largest file that a declarative file may name, in bytes.
const MAX_NAMED_BYTES: u64 = 1024 * 1024;

/// A hostname's own routes win over its services'.
const SERVICE_RANK: u8 = 0;
const OWN_RANK: u8 = 1;

/// Reads a declarative file, or all `*.yaml` and `*.yml` files of a folder as if they were one. Decision tables, which
/// lie beside policies as `*.cases.yaml`, are left out.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load(path: &Path, read_as: ReadAs) -> Result<Declared, Mistakes> {
    let (declared, unserved) = load_served(path, read_as)?;
    unserved.into_result(declared)
}

/// The same for who serves what can be served: gives what is wrong with files that only one hostname needs beside the rest.
/// Such a hostname stands there with nothing in the place of what could not be read.
///
/// # Errors
/// Everything else that is wrong with them; then those files' mistakes, too.
pub fn load_served(path: &Path, read_as: ReadAs) -> Result<(Declared, Mistakes), Mistakes> {
    let (folder, paths) = sources(path)?;
    let mut merged = Merged::default();
    let mut mistakes = Mistakes::default();
    for path in paths {
        let read = Document::open(&path).and_then(|document| load_file::<RawFile>(document, &Overrides::none()));
        match read {
            Ok(loaded) => {
                let (file, document) = loaded.into_parts();
                mistakes.append(document.mistakes().clone());
                merged.add(file, document);
            }
            Err(more) => {
                mistakes.append(more);
                merged.unread = true;
            }
        }
    }
    let named = |name: &str| read_named(&folder.join(name));
    let mut examined = examine(&merged.file, read_as, &named);
    let mut problems = ties(&examined);
    if read_as == ReadAs::EdgeFile {
        problems.extend(key_sets(&examined));
    }
    problems.append(&mut examined.problems);
    let mut unserved = client_certificates(&examined);
    unserved.append(&mut examined.unserved);
    mistakes.append(problems.into_iter().filter_map(|problem| merged.mistake(problem)).collect());
    let unserved: Mistakes = unserved.into_iter().filter_map(|problem| merged.mistake(problem)).collect();
    if mistakes.is_empty() {
        return Ok((examined.declared, unserved));
    }
    mistakes.append(unserved);
    mistakes.into_result((examined.declared, Mistakes::default()))
}

/// The folder that file names are relative to, and the files to read.
fn sources(path: &Path) -> Result<(PathBuf, Vec<PathBuf>), Mistakes> {
    if !path.is_dir() {
        return Ok((path.parent().map(Path::to_path_buf).unwrap_or_default(), vec![path.to_path_buf()]));
    }
    let fail = |message: String| {
        let (source, line, key_path, hint) = (path.display().to_string(), None, KeyPath::default(), None);
        Mistakes::from(Mistake { source, line, key_path, message, hint })
    };
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| fail(format!("cannot be read: {error}")))?;
    let wanted = |path: &PathBuf| {
        let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
        (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.ends_with(".cases.yaml")
    };
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(wanted).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(fail("holds no `*.yaml` or `*.yml` file".into()));
    }
    Ok((path.to_path_buf(), paths))
}

fn read_named(path: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MAX_NAMED_BYTES {
        return Err(format!("it is {bytes} bytes long; at most {MAX_NAMED_BYTES} are read"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    // What is no text, such as DER, is given as base64 of it.
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| STANDARD.encode(error.as_bytes())))
}

/// Several files as one, and where each element came from.
#[derive(Default)]
struct Merged {
    file: RawFile,
    documents: Vec<Readable>,
    /// For each list, its elements' documents and places there.
    origins: HashMap<&'static str, Vec<(usize, usize)>>,
    /// Whether there is a file of which nothing could be read.
    unread: bool,
}

impl Merged {
    fn add(&mut self, file: RawFile, document: Readable) {
        let at = self.documents.len();
        self.documents.push(document);
        let RawFile { hostnames, tenants, projects, issuers, roles, upstreams, services } = file;
        let mut note = |list: &'static str, count: usize| {
            self.origins.entry(list).or_default().extend((0..count).map(|index| (at, index)));
        };
        note("hostnames", hostnames.len());
        note("tenants", tenants.len());
        note("projects", projects.len());
        note("issuers", issuers.len());
        note("roles", roles.len());
        note("upstreams", upstreams.len());
        note("services", services.len());
        self.file.hostnames.extend(hostnames);
        self.file.tenants.extend(tenants);
        self.file.projects.extend(projects);
        self.file.issuers.extend(issuers);
        self.file.roles.extend(roles);
        self.file.upstreams.extend(upstreams);
        self.file.services.extend(services);
    }

    /// None where the problem may follow from a mistake of form, which is named already.
    fn mistake(&self, problem: Problem) -> Option<Mistake> {
        let Problem { pointer, message, sought_in } = problem;
        if sought_in.is_some_and(|list| self.unread || self.documents.iter().any(|document| document.thinned(list))) {
            return None;
        }
        let mut steps = pointer.splitn(4, '/').skip(1);
        let (list, index, rest) = (steps.next().unwrap_or_default(), steps.next(), steps.next());
        let origin = index.and_then(|i| i.parse::<usize>().ok()).and_then(|i| self.origins.get(list)?.get(i));
        let (document, pointer) = match origin {
            Some((document, index)) => {
                let rest = rest.map(|r| format!("/{r}")).unwrap_or_default();
                (self.documents.get(*document)?, format!("/{list}/{index}{rest}"))
            }
            None => (self.documents.first()?, pointer),
        };
        document.mistake(&pointer, message)
    }
}

/// Routes that match the same requests equally well, within a service and among the services of a hostname.
fn ties(examined: &Examined) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut within: HashMap<ServiceId, Vec<Tie>> = HashMap::new();
    let services = of_kind(examined, |e| if let Entity::Service(it) = e { Some(it) } else { None });
    for (place, service) in &services {
        let mut builder = RouteTableBuilder::default();
        for (at, tie) in insert(&mut builder, &service.routes, SERVICE_RANK) {
            problems.push(Problem::new(place.route(at), tie.to_string()));
            within.entry(service.id).or_default().push(tie);
        }
    }
    for (place, hostname) in of_kind(examined, |e| if let Entity::Hostname(it) = e { Some(it) } else { None }) {
        problems.extend(ties_of(place, hostname, &services, &within));
    }
    problems
}

fn ties_of(
    place: &Place,
    hostname: &Hostname,
    services: &[(&Place, &Service)],
    within: &HashMap<ServiceId, Vec<Tie>>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut builder = RouteTableBuilder::default();
    for (at, id) in hostname.services.iter().enumerate() {
        let Some((_, service)) = services.iter().find(|(_, s)| s.id == *id) else { continue };
        for (_, tie) in insert(&mut builder, &service.routes, SERVICE_RANK) {
            if !within.get(id).is_some_and(|known| known.contains(&tie)) {
                problems.push(Problem::new(place.service(at), format!("service `{}`: {tie}", service.name)));
            }
        }
    }
    for (at, tie) in insert(&mut builder, &hostname.routes, OWN_RANK) {
        problems.push(Problem::new(place.route(at), tie.to_string()));
    }
    problems
}

fn insert(builder: &mut RouteTableBuilder<()>, routes: &[Route], rank: u8) -> Vec<(usize, Tie)> {
    let mut insert = |route: &Route| builder.insert(&route.path, &route.methods, rank, ()).err();
    routes.iter().enumerate().filter_map(|(at, route)| Some((at, insert(route)?))).collect()
}

/// Key sets that the gateway would refuse.
fn key_sets(examined: &Examined) -> Vec<Problem> {
    let issuers = of_kind(examined, |e| if let Entity::Issuer(it) = e { Some(it) } else { None });
    let refused = |(place, issuer): (&Place, &Issuer)| {
        let error = Jwks::parse(&issuer.jwks).err()?;
        Some(Problem::new(format!("{}/jwks/file", place.pointer), crate::error::chain(&error)))
    };
    issuers.into_iter().filter_map(refused).collect()
}

/// Authorities and revocation lists that the gateway would refuse. A file that could not be read was named before.
fn client_certificates(examined: &Examined) -> Vec<Problem> {
    let hostnames = of_kind(examined, |e| if let Entity::Hostname(it) = e { Some(it) } else { None });
    let refused = |(place, hostname): (&Place, &Hostname)| {
        let error = Authorities::compile(&hostname.client_certificates.as_ref()?.certificates).err()?;
        let pointer = format!("{}/client_certificates{}", place.pointer, error.pointer());
        let named = examined.unserved.iter().any(|problem| problem.pointer == pointer);
        (!named).then(|| Problem::new(pointer, error.to_string()))
    };
    hostnames.into_iter().filter_map(refused).collect()
}

/// The entities of one kind, with where they stand.
fn of_kind<'e, E>(examined: &'e Examined, kind: impl Fn(&'e Entity) -> Option<&'e E>) -> Vec<(&'e Place, &'e E)> {
    let entities = examined.places.iter().zip(&examined.declared.entities);
    entities.filter_map(|(place, entity)| Some((place, kind(entity)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
hostnames:
  - { hostname: acme.example.test, tenant: acme, certificate: { chain: acme.crt, key: acme.key }, services: [orders] }
tenants:
  - { slug: acme, id: 00000000-0000-0000-0000-000000000001, status: active }
issuers:
  - { issuer: "https://id.example.test", jwks: { file: jwks.json }, audiences: [orders], algorithms: [RS256, ES256], tenant_claim: tid, roles_claim: roles }
roles:
  - { name: member, permissions: ["orders:order:list", "orders:order:get"] }
upstreams:
  - { name: orders, peers: ["127.0.0.1:3000"], plaintext: true, assertion: off }
services:
  - name: orders
    upstream: orders
    routes:
      - { path: /public/**, access: public }
      - { path: /orders, methods: [GET], permission: "orders:order:list" }
      - { path: /echo/**, access: authenticated }
"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        std::fs::write(folder.path().join("acme.crt"), "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
            .unwrap();
        std::fs::write(folder.path().join("acme.key"), "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----")
            .unwrap();
        folder
    }

    /// What is wrong, with the folder's name taken off.
    fn said(folder: &tempfile::TempDir, name: &str) -> String {
        let error = load(&folder.path().join(name), ReadAs::EdgeFile).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    }

    fn with_keys(text: &str) -> tempfile::TempDir {
        let folder = folder(&[("edge.yaml", text)]);
        std::fs::write(folder.path().join("jwks.json"), r#"{"keys": []}"#).unwrap();
        folder
    }

    #[test]
    fn the_documented_example_is_read() {
        let folder = with_keys(EXAMPLE);
        let declared = load(&folder.path().join("edge.yaml"), ReadAs::EdgeFile).unwrap();
        assert_eq!(declared.entities.len(), 8);
    }

    #[test]
    fn mistakes_of_every_kind_have_their_lines() {
        let text = EXAMPLE.replace("services: [orders]", "services: [order]").replace("acme.key", "absent.key");
        let said = said(&with_keys(&text), "edge.yaml");
        assert_eq!(
            said,
            "edge.yaml:3: hostnames[0].certificate.key: file `absent.key`: No such file or directory (os error 2)\n\
             edge.yaml:3: hostnames[0].services[0]: there is no service `order`"
        );
    }

    #[test]
    fn ties_are_refused_within_a_service_and_among_the_services_of_a_hostname() {
        let text = format!(
            "{EXAMPLE}      - {{ path: /orders, methods: [GET, POST], access: public }}\n  - name: other\n    upstream: orders\n    \
             routes: [{{ path: /echo/**, access: public }}]\n"
        );
        let within = said(&with_keys(&text), "edge.yaml");
        assert_eq!(
            within,
            "edge.yaml:19: services[0].routes[3]: routes `/orders` and `/orders` match the same paths for GET"
        );
        let among = text
            .replace("services: [orders]", "services: [orders, other]")
            .replace("/orders, methods: [GET, P", "/x, methods: [GET, P");
        assert_eq!(
            said(&with_keys(&among), "edge.yaml"),
            "edge.yaml:3: hostnames[0].services[1]: service `other`: routes `/echo/**` and `/echo/**` match the same \
             paths for any method"
        );
    }

    #[test]
    fn a_hostnames_own_route_wins_over_its_services() {
        let own = "services: [orders], routes: [{ path: /orders, methods: [GET], access: public, upstream: orders }]";
        let folder = with_keys(&EXAMPLE.replace("services: [orders]", own));
        load(&folder.path().join("edge.yaml"), ReadAs::EdgeFile).unwrap();
    }

    #[test]
    fn the_files_of_a_folder_are_one_file_and_each_mistake_names_its_own() {
        let folder = folder(&[
            (
                "a.yaml",
                "tenants: [{ slug: acme }]\nhostnames:\n  - { hostname: a.test, tenant: acme, services: [x] }\n",
            ),
            ("b.yaml", "tenants:\n  - { slug: globex }\n  - { slug: acme }\n"),
            ("c.yml", r#"{"services": [{"name": "x", "upstream": "nowhere"}]}"#),
            ("jwks.json", "not read"),
            ("a.cases.yaml", "not read either"),
        ]);
        assert_eq!(
            said(&folder, ""),
            "b.yaml:3: tenants[1].slug: tenant `acme` stands twice (first as number 1)\n\
             c.yml:1: services[0].upstream: there is no upstream `nowhere`"
        );
    }

    #[test]
    fn mistakes_of_form_and_of_meaning_are_named_together() {
        let folder = folder(&[
            (
                "a.yaml",
                "tenants: [{ slg: acme }]\nhostnames:\n  - { hostname: a.test, tenant: acme, certificat: x }\n  - { hostname: b.test, services: [none] }\n",
            ),
            (
                "b.yaml",
                "roles: [{ name: 5, permissions: [] }]\nupstreams:\n  - { name: up, peers: [\"10.0.0.1:1\"] }\n\
                 services:\n  - name: s\n    upstream: down\n    routes:\n      - { path: 7, access: public }\n      \
                 - { path: /x, access: public }\n      - { path: /x, access: public }\n",
            ),
        ]);
        assert_eq!(
            said(&folder, ""),
            "a.yaml:1: tenants[0]: `slug` is missing\n\
             a.yaml:1: tenants[0].slg: unknown key; did you mean `slug`?\n\
             a.yaml:3: hostnames[0].certificat: unknown key; did you mean `certificate`?\n\
             a.yaml:4: hostnames[1].services[0]: there is no service `none`\n\
             b.yaml:1: roles[0].name: `5` is not a string\n\
             b.yaml:3: upstreams[0]: either `tls` or `plaintext: true` is needed\n\
             b.yaml:6: services[0].upstream: there is no upstream `down`\n\
             b.yaml:8: services[0].routes[0].path: `7` is not a string\n\
             b.yaml:10: services[0].routes[2]: routes `/x` and `/x` match the same paths for any method"
        );
    }

    #[test]
    fn a_name_that_a_broken_file_may_give_is_not_missed() {
        let folder = folder(&[
            ("a.yaml", "hostnames: [{ hostname: a.test, tenant: acme }]\ntenants: [{ slug: Acme! }]\n"),
            ("b.yaml", "tenants: [\n"),
        ]);
        let said = said(&folder, "");
        assert!(said.starts_with("a.yaml:2: tenants[0].slug: "), "{said}");
        assert!(said.contains("\nb.yaml:") && !said.contains("there is no tenant"), "{said}");
    }

    #[test]
    fn a_key_set_that_verification_would_refuse_is_refused_here() {
        let folder = with_keys(EXAMPLE);
        let twice = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        std::fs::write(folder.path().join("jwks.json"), twice).unwrap();
        let said = said(&folder, "edge.yaml");
        assert!(said.starts_with("edge.yaml:7: issuers[0].jwks.file: "), "{said}");
    }
}

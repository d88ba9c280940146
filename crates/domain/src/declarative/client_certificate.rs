//! Client certificates of a hostname, from files.

use super::{Problem, RawClientCertificates, ReadAs, compile::Compiler, ids};
use crate::{
    CertificateBinding, CertificateName, ClientCertificates,
    client_certificate::{CertificatePrincipal, MAX_BINDINGS},
    snapshot::ClientAuthentication,
};

impl Compiler<'_> {
    /// A file that cannot be read leaves nothing in its place, which no reader takes for authorities.
    pub(super) fn client_certificates(
        &mut self,
        place: &str,
        hostname: &str,
        raw: &RawClientCertificates,
    ) -> ClientAuthentication {
        let ca = self.needed(&format!("{place}/ca"), &raw.ca);
        let crl = raw.crl.iter().enumerate().map(|(at, path)| self.needed(&format!("{place}/crl/{at}"), path));
        let crl = crl.collect();
        if self.read_as == ReadAs::Apply && !raw.bindings.is_empty() {
            self.refuse(format!("{place}/bindings"), "the control API binds certificates to users, by its own calls");
        }
        if raw.bindings.len() > MAX_BINDINGS {
            self.refuse(format!("{place}/bindings"), "at most 1000 are allowed");
        }
        let mut bindings: Vec<CertificateBinding> = Vec::new();
        for (at, raw) in raw.bindings.iter().enumerate() {
            let place = format!("{place}/bindings/{at}");
            if raw.subject.is_empty() || raw.subject.contains(char::is_control) {
                self.refuse(format!("{place}/subject"), "a subject is not empty and holds no control characters");
            }
            match CertificateName::new(raw.kind, &raw.value) {
                Ok(name) if bindings.iter().any(|other| other.name == name) => {
                    self.refuse(place, format!("certificates named `{name}` are bound twice"));
                }
                Ok(name) => {
                    let id = ids::named("certificate_binding", &[hostname, name.kind().as_str(), name.value()]);
                    let (subject, roles) = (raw.subject.clone(), raw.roles.clone());
                    bindings.push(CertificateBinding {
                        id,
                        name,
                        principal: CertificatePrincipal::Named { subject, roles },
                    });
                }
                Err(error) => self.refuse(format!("{place}/value"), error.to_string()),
            }
        }
        ClientAuthentication { certificates: ClientCertificates { mode: raw.mode, ca, crl }, bindings }
    }

    fn needed(&mut self, place: &str, path: &str) -> String {
        (self.files)(path).unwrap_or_else(|error| {
            self.unserved.push(Problem::new(place, format!("file `{path}`: {error}")));
            String::new()
        })
    }
}

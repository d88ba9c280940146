//! Certificates. Their keys are sealed, and leave the store only in the change log.

use authz::{Authorized, action::ManageCertificates};
use domain::{
    CertificateId, HostnameId, Secret,
    model::{Certificate, NewCertificate},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one, scope_of, within,
};
use crate::{
    StoreError, Tx, Unaudited, View,
    log::publish::{self, Effect},
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT id, project_id, names, chain_pem, not_before, not_after, source, fingerprint, created_at
                      FROM certificates";

fn read(row: &Row) -> Result<Certificate, StoreError> {
    Ok(Certificate {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        names: row.json("names")?,
        chain_pem: row.at("chain_pem")?,
        not_before: row.at("not_before")?,
        not_after: row.at("not_after")?,
        source: row.word("source")?,
        fingerprint: row.at("fingerprint")?,
        created_at: row.at("created_at")?,
    })
}

fn place(id: CertificateId) -> String {
    format!("certificates.key_enc:{id}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn =
    SealedColumn { table: "certificates", column: "key_enc", key: &["id"], place: |row| Ok(place(row.at("id")?)) };

/// A certificate's key, for the change log.
pub(crate) async fn key(view: &View, id: CertificateId) -> Result<Secret<String>, StoreError> {
    let sql = "SELECT key_enc FROM certificates WHERE id = $1";
    let sealed = view.first(sql, values![id], |row| row.at::<Vec<u8>>("key_enc")).await?;
    let plain = view.sealer().open(&place(id), &needed(sealed, "certificate")?)?;
    String::from_utf8(plain.expose().clone()).map(Secret::new).map_err(|_| StoreError::corrupt("key_enc", "not UTF-8"))
}

/// The list of certificates.
#[derive(Debug)]
pub enum CertificateList {}

impl Listing for CertificateList {
    type Item = Certificate;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::search("For a name that holds this, in any case.", "CAST(names AS TEXT) LIKE ? ESCAPE '!'"),
        Filter::new("project_id", "Of this project.", Takes::Id, "project_id = ?"),
        Filter::new("source", "From there.", Takes::Word(&["upload", "acme", "development"]), "source = ?"),
        Filter::new("fingerprint", "Whose leaf has this fingerprint.", Takes::Text, "fingerprint = ?"),
        Filter::new("expires_until", "That expire before this instant.", Takes::Time, "not_after < ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::time("not_after", "not_after"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<Certificate, StoreError> {
        read(row.0)
    }
}

/// Reads of certificates.
pub trait Certificates: Reader {
    /// The certificate of this id.
    fn certificate(&self, id: CertificateId) -> impl Future<Output = Result<Option<Certificate>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// A certificate whose leaf has this fingerprint; the latest of several.
    fn certificate_by_fingerprint(
        &self,
        fingerprint: &str,
    ) -> impl Future<Output = Result<Option<Certificate>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE fingerprint = $1 ORDER BY id DESC LIMIT 1");
            self.view().await?.first(&sql, values![fingerprint], read).await
        }
    }
}
impl<R: Reader> Certificates for R {}

impl Tx {
    /// Stores a certificate.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its project.
    pub async fn insert_certificate(
        &self,
        by: &Authorized<ManageCertificates>,
        new: NewCertificate,
    ) -> Result<Unaudited<Certificate>, StoreError> {
        within(by, scope_of(new.project_id, by.scope().tenant()))?;
        let sealed = self.work.view.sealer().seal(&place(new.id), new.key_pem.expose().as_bytes())?;
        let certificate = Certificate {
            id: new.id,
            project_id: new.project_id,
            names: new.names,
            chain_pem: new.chain_pem,
            not_before: new.not_before,
            not_after: new.not_after,
            source: new.source,
            fingerprint: new.fingerprint,
            created_at: self.work.now,
        };
        let it = &certificate;
        self.work
            .view
            .execute(
                "INSERT INTO certificates (id, project_id, names, chain_pem, key_enc, not_before, not_after, source,
                     fingerprint, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                vec![
                    it.id.into(),
                    it.project_id.into(),
                    Value::json(&it.names)?,
                    (&it.chain_pem).into(),
                    sealed.into(),
                    it.not_before.into(),
                    it.not_after.into(),
                    Value::word(&it.source),
                    (&it.fingerprint).into(),
                    it.created_at.into(),
                ],
            )
            .await?;
        publish::certificate(&self.work, certificate.id, Effect::Widens).await?;
        Ok(self.unaudited(certificate))
    }

    /// Deletes a certificate. Hostnames that use it have none from then on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_certificate(
        &self,
        by: &Authorized<ManageCertificates>,
        id: CertificateId,
    ) -> Result<Unaudited<Certificate>, StoreError> {
        let certificate = needed(self.certificate(id).await?, "certificate")?;
        within(by, scope_of(certificate.project_id, by.scope().tenant()))?;
        let view = &self.work.view;
        let sql = "UPDATE hostnames SET certificate_id = NULL, updated_at = $2, version = version + 1
                   WHERE certificate_id = $1 RETURNING id";
        let users = view.all(sql, values![id, self.work.now], |row| row.at::<HostnameId>("id")).await?;
        for hostname in users {
            publish::hostname(&self.work, hostname, Effect::Narrows).await?;
        }
        view.execute("DELETE FROM audiences WHERE kind = 'certificate' AND entity_id = $1", values![id]).await?;
        one(view, "certificate", "DELETE FROM certificates WHERE id = $1", values![id]).await?;
        publish::certificate(&self.work, id, Effect::Narrows).await?;
        Ok(self.unaudited(certificate))
    }
}

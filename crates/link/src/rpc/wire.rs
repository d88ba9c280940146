//! Between the words of the `.proto` file and ours.

use domain::{
    ApiKeyId, ApiKeyState, Decision, Fact, History, Id, NumberedFact, Position, Seq, SnapshotVersion, Tag, Timestamp,
    access::{self, AccessReport},
    decision::{MAX_BATCH, MAX_BYTES},
    fact::{Bindings, Proof},
    quota::{MAX_COUNTS, UsageCount, UsagePart},
    snapshot::{Change, EntityKey, EntityKind, READER},
};
use tonic::{Code, Status};
use uuid::Uuid;

use super::proto;
use crate::{
    LinkError,
    log::{FeedMessage, GatewayIdentity, GatewayStatus, MAX_KEY_USES},
};

/// Parts of streams are about this long at most, in bytes of JSON.
pub(super) const PART_BYTES: usize = 1024 * 1024;

const GATEWAY: &str = "the gateway";

pub(super) fn from_position(at: Position) -> proto::Position {
    proto::Position { seq: at.seq.0, tag: at.tag.0, history: at.history.0 }
}

pub(super) fn to_position(at: Option<proto::Position>, who: &'static str) -> Result<Position, LinkError> {
    let at = at.ok_or_else(|| LinkError::unreadable(who, "a position is missing"))?;
    Ok(Position { history: History(at.history), seq: Seq(at.seq), tag: Tag(at.tag) })
}

pub(super) fn from_proof(proof: Proof) -> proto::ProveReply {
    proto::ProveReply { head: Some(from_position(proof.head)), min_revision: proof.min_revision, resync: proof.resync }
}

pub(super) fn to_proof(reply: proto::ProveReply, who: &'static str) -> Result<Proof, LinkError> {
    Ok(Proof { head: to_position(reply.head, who)?, min_revision: reply.min_revision, resync: reply.resync })
}

pub(super) fn from_fact(fact: &Fact) -> Result<Vec<u8>, LinkError> {
    serde_json::to_vec(fact).map_err(|error| LinkError::failed("the control API", &error))
}

pub(super) fn to_fact(json: &[u8], who: &'static str) -> Result<Fact, LinkError> {
    serde_json::from_slice(json).map_err(|error| LinkError::unreadable(who, error))
}

pub(super) fn from_numbered(numbered: &NumberedFact) -> Result<proto::NumberedFact, LinkError> {
    let at = from_position(Position { seq: numbered.seq, tag: numbered.tag, ..Position::default() });
    Ok(proto::NumberedFact { at: Some(at), fact: from_fact(&numbered.fact)? })
}

pub(super) fn to_numbered(numbered: proto::NumberedFact, who: &'static str) -> Result<NumberedFact, LinkError> {
    let Position { seq, tag, .. } = to_position(numbered.at, who)?;
    Ok(NumberedFact { seq, tag, fact: to_fact(&numbered.fact, who)? })
}

pub(super) fn to_id<K>(text: &str, who: &'static str) -> Result<Id<K>, LinkError> {
    text.parse().map_err(|error| LinkError::unreadable(who, error))
}

pub(super) fn from_bindings(bindings: &Bindings) -> proto::BindingsReply {
    let unit_role = |(unit, role): &(_, _)| proto::UnitRole { unit: Id::to_string(unit), role: Id::to_string(role) };
    proto::BindingsReply {
        as_of: bindings.as_of.0,
        active: bindings.active,
        roles: bindings.roles.iter().map(Id::to_string).collect(),
        unit_roles: bindings.unit_roles.iter().map(unit_role).collect(),
        history: bindings.history.0,
    }
}

pub(super) fn to_bindings(reply: proto::BindingsReply, who: &'static str) -> Result<Bindings, LinkError> {
    let unit_role = |held: &proto::UnitRole| Ok((to_id(&held.unit, who)?, to_id(&held.role, who)?));
    Ok(Bindings {
        history: History(reply.history),
        as_of: Seq(reply.as_of),
        active: reply.active,
        roles: reply.roles.iter().map(|role| to_id(role, who)).collect::<Result<_, LinkError>>()?,
        unit_roles: reply.unit_roles.iter().map(unit_role).collect::<Result<_, LinkError>>()?,
    })
}

pub(super) fn from_api_key(key: Option<&ApiKeyState>) -> Result<proto::ApiKeyReply, LinkError> {
    let json = key.map(serde_json::to_vec).transpose();
    Ok(proto::ApiKeyReply { key: json.map_err(|error| LinkError::failed("the control API", &error))? })
}

pub(super) fn to_api_key(reply: proto::ApiKeyReply, who: &'static str) -> Result<Option<ApiKeyState>, LinkError> {
    let key = reply.key.map(|json| serde_json::from_slice(&json)).transpose();
    key.map_err(|error| LinkError::unreadable(who, error))
}

pub(super) fn from_key_uses(uses: &[(ApiKeyId, Timestamp)]) -> proto::KeysUsedRequest {
    let told = |(key, at): &(ApiKeyId, Timestamp)| proto::KeyUse { key: key.to_string(), at: at.millis() };
    proto::KeysUsedRequest { uses: uses.iter().map(told).collect() }
}

pub(super) fn to_key_uses(told: &proto::KeysUsedRequest) -> Result<Vec<(ApiKeyId, Timestamp)>, LinkError> {
    if told.uses.len() > MAX_KEY_USES {
        return Err(LinkError::unreadable(GATEWAY, format!("more than {MAX_KEY_USES} uses at once")));
    }
    told.uses.iter().map(|told| Ok((to_id(&told.key, GATEWAY)?, Timestamp::from_millis(told.at)))).collect()
}

pub(super) fn from_gateway(gateway: GatewayIdentity) -> proto::GatewayIdentity {
    proto::GatewayIdentity { id: gateway.id.to_string(), name: gateway.name, fleet: gateway.fleet }
}

pub(super) fn to_gateway(gateway: Option<proto::GatewayIdentity>) -> Result<GatewayIdentity, LinkError> {
    let gateway = gateway.ok_or_else(|| LinkError::unreadable(GATEWAY, "it does not say who it is"))?;
    Ok(GatewayIdentity { id: to_id(&gateway.id, GATEWAY)?, name: gateway.name, fleet: gateway.fleet })
}

pub(super) fn from_status(status: GatewayStatus) -> proto::ReportRequest {
    proto::ReportRequest {
        gateway: Some(from_gateway(status.gateway)),
        reader: status.reader,
        applied_revision: status.applied_revision,
        applied: Some(from_position(status.applied)),
        lease_remaining_ms: status.lease_remaining_ms,
    }
}

pub(super) fn to_status(report: proto::ReportRequest) -> Result<GatewayStatus, LinkError> {
    Ok(GatewayStatus {
        gateway: to_gateway(report.gateway)?,
        reader: report.reader,
        applied_revision: report.applied_revision,
        applied: to_position(report.applied, GATEWAY)?,
        lease_remaining_ms: report.lease_remaining_ms,
    })
}

pub(super) fn from_usage(counter: Uuid, counts: &[UsageCount]) -> proto::RecordUsageRequest {
    let count = |it: &UsageCount| proto::UsageCount {
        tenant: it.tenant_id.to_string(),
        product: it.product.to_string(),
        span: it.span.to_string(),
        used: it.used,
    };
    proto::RecordUsageRequest { counter: counter.to_string(), counts: counts.iter().map(count).collect() }
}

/// Counts as a gateway tells them: not too many, and none that cannot be.
pub(super) fn to_usage(told: &proto::RecordUsageRequest) -> Result<(Uuid, Vec<UsageCount>), LinkError> {
    if told.counts.len() > MAX_COUNTS {
        return Err(LinkError::unreadable(GATEWAY, format!("more than {MAX_COUNTS} counts at once")));
    }
    let count = |it: &proto::UsageCount| {
        Ok(UsageCount {
            tenant_id: to_id(&it.tenant, GATEWAY)?,
            product: it.product.parse().map_err(|error| LinkError::unreadable(GATEWAY, error))?,
            span: it.span.parse().map_err(|error| LinkError::unreadable(GATEWAY, error))?,
            used: used(it.used, GATEWAY)?,
        })
    };
    let counts = told.counts.iter().map(count).collect::<Result<_, LinkError>>()?;
    Ok((to_counter(&told.counter, GATEWAY)?, counts))
}

pub(super) fn from_recorded(recorded: &[Vec<UsagePart>]) -> proto::RecordUsageReply {
    let part = |it: &UsagePart| proto::UsagePart { counter: it.counter.to_string(), used: it.used };
    let recorded = recorded.iter().map(|parts| proto::RecordedUsage { parts: parts.iter().map(part).collect() });
    proto::RecordUsageReply { recorded: recorded.collect() }
}

pub(super) fn to_recorded(
    reply: &proto::RecordUsageReply,
    who: &'static str,
) -> Result<Vec<Vec<UsagePart>>, LinkError> {
    let part =
        |it: &proto::UsagePart| Ok(UsagePart { counter: to_counter(&it.counter, who)?, used: used(it.used, who)? });
    reply.recorded.iter().map(|recorded| recorded.parts.iter().map(part).collect()).collect()
}

fn to_counter(text: &str, who: &'static str) -> Result<Uuid, LinkError> {
    text.parse().map_err(|error| LinkError::unreadable(who, error))
}

/// No gateway lets through as many as do not fit the database's numbers.
fn used(count: u64, who: &'static str) -> Result<u64, LinkError> {
    if count < 1 << 44 { Ok(count) } else { Err(LinkError::unreadable(who, "a count beyond all quotas")) }
}

pub(super) fn from_access(report: &AccessReport) -> Result<Vec<u8>, LinkError> {
    serde_json::to_vec(report).map_err(|error| LinkError::failed(GATEWAY, &error))
}

/// What was asked of units, as a gateway tells it: not too much, and nothing in it that is not to be shown.
pub(super) fn to_access(told: &[u8]) -> Result<AccessReport, LinkError> {
    if told.len() > access::MAX_BYTES {
        return Err(LinkError::unreadable(GATEWAY, format!("a report of more than {} bytes", access::MAX_BYTES)));
    }
    let report: AccessReport = serde_json::from_slice(told).map_err(|error| LinkError::unreadable(GATEWAY, error))?;
    report.check().map_err(|reason| LinkError::unreadable(GATEWAY, reason))?;
    Ok(report)
}

pub(super) fn from_decision(decision: &Decision) -> Result<Vec<u8>, LinkError> {
    serde_json::to_vec(decision).map_err(|error| LinkError::failed(GATEWAY, &error))
}

/// Decisions as a gateway tells them: not too many, none too long, and nothing in them that is not to be shown.
pub(super) fn to_decisions(told: &[Vec<u8>]) -> Result<Vec<Decision>, LinkError> {
    if told.len() > MAX_BATCH {
        return Err(LinkError::unreadable(GATEWAY, format!("more than {MAX_BATCH} decisions at once")));
    }
    let read = |json: &Vec<u8>| {
        if json.len() > MAX_BYTES {
            return Err(LinkError::unreadable(GATEWAY, format!("a decision of more than {MAX_BYTES} bytes")));
        }
        serde_json::from_slice(json).map_err(|error| LinkError::unreadable(GATEWAY, error))
    };
    told.iter().map(read).collect()
}

/// A message in parts of about [`PART_BYTES`].
pub(super) fn from_feed(message: FeedMessage) -> Result<Vec<proto::FeedReply>, LinkError> {
    use proto::feed_reply::Kind;
    let (kind, SnapshotVersion { history: History(history), revision }, last, changes) = match message {
        FeedMessage::Full { changes, last, version } => (Kind::Full, version, last, changes),
        FeedMessage::Delta { changes, revision } => (Kind::Delta, of_the_same(revision), true, changes),
        FeedMessage::Heartbeat { revision } => (Kind::Heartbeat, of_the_same(revision), true, Vec::new()),
    };
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for change in &changes {
        let entity = change.entity.as_ref().map(serde_json::to_vec).transpose();
        let entity = entity.map_err(|error| LinkError::failed("the control API", &error))?;
        let size = entity.as_ref().map_or(0, Vec::len) + 64;
        if bytes + size > PART_BYTES && !part.is_empty() {
            let changes = std::mem::take(&mut part);
            parts.push(proto::FeedReply { kind: kind.into(), revision, last: false, changes, history });
            bytes = 0;
        }
        bytes += size;
        part.push(proto::Change {
            revision: change.revision,
            kind: change.key.kind.as_str().into(),
            id: change.key.id.to_string(),
            min_reader: change.min_reader,
            entity,
        });
    }
    parts.push(proto::FeedReply { kind: kind.into(), revision, last, changes: part, history });
    Ok(parts)
}

/// A revision of the history that the full state before it named.
fn of_the_same(revision: u64) -> SnapshotVersion {
    SnapshotVersion { revision, ..SnapshotVersion::default() }
}

/// A change. Of an entity that this build does not read, only the key is looked at: `entity` is then none, and
/// `min_reader` says why.
pub(super) fn to_change(change: proto::Change, who: &'static str) -> Result<Change, LinkError> {
    let kind = serde_json::from_value::<EntityKind>(change.kind.as_str().into())
        .map_err(|error| LinkError::unreadable(who, error))?;
    let id = to_id::<()>(&change.id, who)?.uuid();
    let readable = change.entity.filter(|_| change.min_reader <= READER);
    let entity = readable.map(|json| serde_json::from_slice(&json)).transpose();
    Ok(Change {
        revision: change.revision,
        key: EntityKey { kind, id },
        min_reader: change.min_reader,
        entity: entity.map_err(|error| LinkError::unreadable(who, error))?,
    })
}

impl From<LinkError> for Status {
    fn from(error: LinkError) -> Self {
        let code = match &error {
            LinkError::Unreachable { .. } => Code::Unavailable,
            LinkError::TimedOut { .. } => Code::DeadlineExceeded,
            LinkError::Refused { .. } => Code::PermissionDenied,
            LinkError::UnknownPosition => Code::OutOfRange,
            LinkError::Failed { .. } | LinkError::Unfit { .. } => Code::Internal,
            LinkError::Unreadable { .. } => Code::InvalidArgument,
        };
        let text = match error {
            LinkError::Refused { reason, .. } => reason,
            other => crate::error::chain(&other),
        };
        Self::new(code, text)
    }
}

pub(super) fn from_grpc(status: Status, who: &'static str) -> LinkError {
    let reason = status.message().to_owned();
    match status.code() {
        Code::OutOfRange => LinkError::UnknownPosition,
        Code::PermissionDenied | Code::Unauthenticated => LinkError::Refused { peer: who, reason },
        Code::InvalidArgument => LinkError::Unreadable { peer: who, reason },
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
            LinkError::unreachable(who, status)
        }
        _ => LinkError::Failed { peer: who, reason },
    }
}

//! The development mailbox: letters are kept in memory instead of sent, for `GET /dev/mailbox`.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use domain::Timestamp;

use super::{MailError, Mailer, letter::Mail};

/// So many letters are kept, the newest.
const KEPT: usize = 200;

/// Letters that were not sent.
#[derive(Debug, Default)]
pub struct DevMailbox {
    letters: Mutex<VecDeque<Mail>>,
}

impl DevMailbox {
    /// Those to an address, or all; the newest first. What holds nothing of use any more is gone.
    pub fn letters(&self, to: Option<&str>, now: Timestamp) -> Vec<Mail> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.retain(|mail| mail.expires_at.is_none_or(|at| at > now));
        let wanted = |mail: &&Mail| to.is_none_or(|to| mail.to.eq_ignore_ascii_case(to));
        letters.iter().rev().filter(wanted).cloned().collect()
    }
}

#[async_trait]
impl Mailer for DevMailbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is tried again is one.
        letters.retain(|kept| kept.id != mail.id);
        letters.push_back(mail.clone());
        if letters.len() > KEPT {
            letters.pop_front();
        }
        Ok(())
    }
}

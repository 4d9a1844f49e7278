//! What the operator decided about the flags of one request: the settings, and the store's rows, which win.

use std::borrow::Cow;

use catalog::Resolution;
use convert::native::beta;
use policy::{Tables, glob};
use store::{BetaKind, BetaRow};

use crate::settings::Betas;

/// Decisions that hold for the model of one request.
pub(crate) struct Flags<'a> {
    mapping: Cow<'a, [(String, Vec<String>)]>,
    blocklist: Cow<'a, [String]>,
    allowlist: Vec<String>,
    pass_unknown: bool,
}

impl<'a> Flags<'a> {
    /// Borrows what the settings say where no row is about this model.
    pub(crate) fn of(settings: &'a Betas, tables: &Tables, resolution: &Resolution) -> Self {
        let mapping = settings.mapping_for(resolution);
        let mut flags = Self {
            mapping: Cow::Borrowed(mapping),
            blocklist: Cow::Borrowed(&settings.beta_blocklist.0),
            allowlist: Vec::new(),
            pass_unknown: settings.passes_unknown(),
        };
        let about = |row: &&BetaRow| {
            let fits = |pattern: &String| resolution.fits(|id| glob::matches(pattern, id));
            row.models.is_empty() || row.models.iter().any(fits)
        };
        for row in tables.betas().iter().filter(about) {
            flags.decide(row);
        }
        flags
    }

    /// What a row says, in the place of what the settings say about its flag.
    fn decide(&mut self, row: &BetaRow) {
        let flag = &row.header_name;
        if self.mapping.iter().any(|(from, _)| from == flag) {
            self.mapping.to_mut().retain(|(from, _)| from != flag);
        }
        if self.blocklist.contains(flag) {
            self.blocklist.to_mut().retain(|blocked| blocked != flag);
        }
        match row.header_type {
            BetaKind::Mapping => self.mapping.to_mut().push((flag.clone(), row.mapped_to.clone())),
            BetaKind::Blocklist => self.blocklist.to_mut().push(flag.clone()),
            BetaKind::Allow => self.allowlist.push(flag.clone()),
        }
    }

    /// The same for the converter. `certain_only` after the upstream has refused a flag.
    pub(crate) fn policy(&self, certain_only: bool) -> beta::Policy<'_> {
        beta::Policy {
            mapping: &self.mapping,
            blocklist: &self.blocklist,
            allowlist: &self.allowlist,
            pass_unknown: self.pass_unknown,
            certain_only,
        }
    }
}

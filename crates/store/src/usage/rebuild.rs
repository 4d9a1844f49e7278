//! Totals counted again from rows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Bucket, Totals, UsageRow};
use crate::Timestamp;

/// A total that was not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Corrected {
    /// Its name, as [`Bucket`] writes it.
    pub bucket: String,
    /// What stood there; `None` = nothing.
    pub stood: Option<Totals>,
    /// What belongs there; `None` = nothing.
    pub right: Option<Totals>,
}

/// What the rows of a key since some day add up to.
#[derive(Debug)]
pub(crate) struct Rebuild {
    first: Timestamp,
    days: BTreeMap<String, Totals>,
}

impl Rebuild {
    /// Counting from the first day that begins at or after `since`.
    pub(crate) fn from_day(since: Timestamp) -> Self {
        let day = since.day_start();
        let first = if day == since { day } else { day.plus_millis(Timestamp::DAY_MILLIS) };
        Self { first, days: BTreeMap::new() }
    }

    /// The first instant whose rows count.
    pub(crate) fn first(&self) -> Timestamp {
        self.first
    }

    /// Counts a row, unless it is of an earlier day.
    pub(crate) fn add(&mut self, row: &UsageRow) {
        if row.ts < self.first {
            return;
        }
        for day in [Bucket::Day(row.ts), Bucket::DayModel(row.ts, row.base_model.clone())] {
            self.days.entry(day.to_string()).or_default().add(row);
        }
    }

    /// What is not right in all the totals that stand, by name.
    pub(crate) fn compare(self, stood: impl Iterator<Item = (String, Totals)>) -> Vec<Corrected> {
        let stood: BTreeMap<_, _> = stood.collect();
        let right = self.right(&stood);
        let mut names: Vec<_> = stood.keys().chain(right.keys()).collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| Corrected {
                bucket: name.clone(),
                stood: stood.get(name).copied(),
                right: right.get(name).copied(),
            })
            .filter(|total| total.stood != total.right)
            .collect()
    }

    fn right(self, stood: &BTreeMap<String, Totals>) -> BTreeMap<String, Totals> {
        let (day, month) = (Bucket::Day(self.first).to_string(), Bucket::Month(self.first).to_string());
        // Names of one kind sort by their period, so what is older stays.
        let is_older = |name: &String| match name.split('#').next() {
            Some("day") => *name < day,
            Some("month") => *name < month,
            _ => false,
        };
        let mut right: BTreeMap<_, _> =
            stood.iter().filter(|(name, _)| is_older(name)).map(|(name, sum)| (name.clone(), *sum)).collect();
        right.extend(self.days);
        let mut sums: BTreeMap<String, Totals> = BTreeMap::new();
        for (name, sum) in &right {
            // `day#2026-11-21` without a model counts in `month#2026-11`.
            let mut parts = name.split('#');
            let counted = match (parts.next(), parts.next().and_then(|date| date.get(..7)), parts.next()) {
                (Some("day"), Some(of), None) => Some(format!("month#{of}")).filter(|of| *of >= month),
                _ => None,
            };
            if let Some(of) = counted {
                let total = sums.entry(of).or_default();
                *total = total.merged(sum);
            }
        }
        right.extend(sums);
        let months = right.iter().filter(|(name, _)| name.starts_with("month#"));
        let all =
            months.fold(None, |all: Option<Totals>, (_, sum)| Some(all.unwrap_or_default().merged(sum)));
        right.extend(all.map(|all| (Bucket::Total.to_string(), all)));
        right
    }
}

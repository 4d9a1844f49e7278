//! May this request run, and how: authentication, model resolution, admission and settlement.

//! hyper, once: accept, limits, deadlines, drain, bodies, server-sent events.

-- Before there were tiers, nothing else than the default was asked for.
ALTER TABLE usage ADD COLUMN tier_requested TEXT NOT NULL DEFAULT 'default';
ALTER TABLE usage ADD COLUMN tier_served TEXT NOT NULL DEFAULT 'default';
ALTER TABLE usage ADD COLUMN cache_ttl TEXT;

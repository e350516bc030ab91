-- What one person gave one application: listed on pages, and ended when the consent is withdrawn.
CREATE INDEX authorizations_by_user ON authorizations (instance, user_id, application);

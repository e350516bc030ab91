-- Where the newest generation of a family of refresh tokens was asked for; gone once the person is erased.
ALTER TABLE authorizations ADD COLUMN rotated_address TEXT;
ALTER TABLE authorizations ADD COLUMN rotated_user_agent TEXT;

-- Of the earlier request that an event refers to: taken apart from the chain when the event is sealed, as address and
-- user_agent are.
ALTER TABLE audit_events ADD COLUMN earlier_address TEXT;
ALTER TABLE audit_events ADD COLUMN earlier_user_agent TEXT;

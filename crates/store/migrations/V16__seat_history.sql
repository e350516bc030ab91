-- How many seats were taken when: a day's openings and closings are counted by their indexes alone.
CREATE INDEX api_sessions_by_opening ON api_sessions (instance, opened_at);

-- A link dies when its user's address is changed: from now on it keeps the address that the user had when it was made.
UPDATE links SET address =
    (SELECT u.email FROM users u WHERE u.instance = links.instance AND u.id = links.user_id);

-- Trimming, sweeping and resetting. What changes floors takes the tail like an append does.

CREATE FUNCTION {schema}.raise_floor_v1(in_channel bigint, in_upto bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  before bigint;
  raised record;
BEGIN
  SELECT c.floor INTO before FROM {schema}.channel c WHERE c.channel_id = in_channel;
  UPDATE {schema}.channel c
  SET floor = least(in_upto, c.last_id), floor_global = (
    SELECT m.global_id FROM {schema}.message m
    WHERE m.channel_id = in_channel AND m.message_id = least(in_upto, c.last_id)
  )
  WHERE c.channel_id = in_channel AND c.floor < least(in_upto, c.last_id)
  RETURNING c.floor, c.floor_global INTO raised;
  IF NOT FOUND THEN RETURN 0; END IF;
  UPDATE {schema}.line SET floor = greatest(floor, raised.floor_global), revision = revision + 1;
  RETURN raised.floor - before;
END $$;

CREATE FUNCTION {schema}.trim_v1(
  in_lock integer, in_wait integer, in_site text, in_name text, in_upto bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  ident bigint;
BEGIN
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  SELECT c.channel_id INTO ident FROM {schema}.channel c
  WHERE c.site_id = in_site AND c.name = in_name;
  IF NOT FOUND THEN RETURN 0; END IF;
  RETURN {schema}.raise_floor_v1(ident, in_upto);
END $$;

-- Apply the limits of some channels: what is idle since in_idle goes as a whole, else what is
-- older than in_cutoff.
CREATE FUNCTION {schema}.sweep_v1(
  in_lock integer, in_wait integer, in_channels bigint[], in_idle double precision[],
  in_cutoffs double precision[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  c record;
  expired record;
  gone bigint := 0;
BEGIN
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  FOR c IN
    SELECT t.channel_id, t.last_id, n.cutoff, t.published_at < n.idle AS is_idle
    FROM unnest(in_channels, in_idle, in_cutoffs) n (channel_id, idle, cutoff)
    JOIN {schema}.channel t USING (channel_id)
    WHERE t.floor < t.last_id AND (t.published_at < n.idle OR t.oldest_at < n.cutoff)
  LOOP
    IF c.is_idle THEN
      gone := gone + {schema}.raise_floor_v1(c.channel_id, c.last_id);
    ELSE
      SELECT e.hidden, e.floor_global INTO expired
      FROM {schema}.expire_v1(c.channel_id, c.cutoff) e;
      IF expired.hidden > 0 THEN
        gone := gone + expired.hidden;
        UPDATE {schema}.line
        SET floor = greatest(floor, expired.floor_global), revision = revision + 1;
      END IF;
    END IF;
  END LOOP;
  RETURN gone;
END $$;

-- Hide the oldest plain messages over the line's cap, some at a time.
CREATE FUNCTION {schema}.drop_oldest_v1(
  in_lock integer, in_wait integer, in_cap bigint, in_count bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  excess bigint;
  c record;
  gone bigint := 0;
BEGIN
  SELECT coalesce(sum(last_id - floor), 0) - in_cap INTO excess
  FROM {schema}.channel WHERE kind = 'plain';
  IF excess <= 0 THEN RETURN 0; END IF;
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  -- Another sweep may have been here meanwhile.
  SELECT coalesce(sum(last_id - floor), 0) - in_cap INTO excess
  FROM {schema}.channel WHERE kind = 'plain';
  IF excess <= 0 THEN RETURN 0; END IF;
  FOR c IN
    SELECT o.channel_id, max(o.message_id) AS upto FROM (
      SELECT m.channel_id, m.message_id FROM {schema}.message m
      JOIN {schema}.channel t USING (channel_id)
      WHERE t.kind = 'plain' AND m.message_id > t.floor
      ORDER BY m.global_id LIMIT least(excess, in_count)
    ) o GROUP BY o.channel_id
  LOOP
    gone := gone + {schema}.raise_floor_v1(c.channel_id, c.upto);
  END LOOP;
  RETURN gone;
END $$;

-- Delete some of what floors hide, beside the tail; one process at a time.
CREATE FUNCTION {schema}.erase_v1(in_lock integer, in_count bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  c record;
  budget bigint := in_count;
  upto bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(1953656428, in_lock) THEN RETURN 0; END IF;
  FOR c IN
    SELECT t.channel_id, t.floor, coalesce(e.upto, 0) AS erased
    FROM {schema}.channel t LEFT JOIN {schema}.erasure e USING (channel_id)
    WHERE t.floor > coalesce(e.upto, 0) LIMIT 200
  LOOP
    upto := least(c.floor, c.erased + budget);
    DELETE FROM {schema}.message m
    WHERE m.channel_id = c.channel_id AND m.message_id > c.erased AND m.message_id <= upto;
    INSERT INTO {schema}.erasure AS e VALUES (c.channel_id, upto)
    ON CONFLICT (channel_id) DO UPDATE SET upto = excluded.upto;
    budget := budget - (upto - c.erased);
    EXIT WHEN budget <= 0;
  END LOOP;
  RETURN in_count - budget;
END $$;

-- Forget some receipts from before a moment, and writers that have long been gone.
CREATE FUNCTION {schema}.forget_v1(in_oldest double precision, in_count bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  gone bigint;
BEGIN
  DELETE FROM {schema}.receipt WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM {schema}.receipt r WHERE r.published_at < in_oldest
    ORDER BY r.published_at LIMIT in_count
  ));
  GET DIAGNOSTICS gone = ROW_COUNT;
  DELETE FROM {schema}.writer WHERE seen_at < now() - interval '7 days';
  RETURN gone;
END $$;

-- Erase everything. Deleting, not truncating: readers keep the snapshot they have.
CREATE FUNCTION {schema}.reset_v1(
  in_lock integer, in_wait integer, in_topic text, in_epoch text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  -- A reset whose answer was lost is asked for again, and must not erase what came after it.
  PERFORM 1 FROM {schema}.line WHERE epoch = in_epoch;
  IF FOUND THEN RETURN; END IF;
  DELETE FROM {schema}.message;
  DELETE FROM {schema}.receipt;
  DELETE FROM {schema}.channel;
  DELETE FROM {schema}.erasure;
  UPDATE {schema}.line
  SET epoch = in_epoch, head = 0, published_at = 0, floor = 0, revision = revision + 1;
  PERFORM pg_notify(in_topic, in_epoch || ' 0');
END $$;

-- A line that lost its newest messages (an asynchronous failover, a restored backup) would give
-- their ids again. Whoever saw them finds the line below, or another message in their place, and
-- starts a new epoch, once.
CREATE FUNCTION {schema}.renew_epoch_v1(
  in_lock integer, in_wait integer, in_topic text, in_epoch text, in_seen bigint,
  in_seen_at double precision, in_new text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  l record;
BEGIN
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  SELECT * INTO l FROM {schema}.line;
  IF l.epoch <> in_epoch THEN RETURN l.epoch; END IF;
  PERFORM 1 FROM {schema}.message m
  WHERE m.global_id = in_seen AND m.published_at <> in_seen_at;
  IF l.head >= in_seen AND NOT FOUND THEN RETURN l.epoch; END IF;
  UPDATE {schema}.line SET epoch = in_new;
  PERFORM pg_notify(in_topic, in_new || ' ' || l.head);
  RETURN in_new;
END $$;

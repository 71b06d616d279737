-- The tail: every append takes the advisory lock first, and each step after it is a statement of
-- its own, which therefore sees what the lock's previous holder wrote. One statement that locks
-- and checks would check against the snapshot from before the wait.
--
-- An append answers one text: epoch, head from before, messages newly hidden, and its ids, with
-- commas. A set or a record of several columns would take longer on both sides.

-- Take the tail, for as long as the transaction lasts, and see that its commit will be durable.
CREATE FUNCTION {schema}.take_tail_v1(in_lock integer, in_wait integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('lock_timeout', in_wait::text, true);
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  PERFORM pg_advisory_xact_lock(1953656427, in_lock);
END $$;

-- Note a writer's turn, and refuse one that was given up.
CREATE FUNCTION {schema}.note_turn_v1(
  in_writer uuid, in_turn bigint, in_epoch text, in_head bigint, in_answer bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE {schema}.writer
  SET turn = in_turn, epoch = in_epoch, head = in_head, answer = in_answer, seen_at = now()
  WHERE writer_id = in_writer AND turn < in_turn;
  IF FOUND THEN RETURN; END IF;
  INSERT INTO {schema}.writer VALUES (in_writer, in_turn, in_epoch, in_head, in_answer, now())
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'turn % of writer % was given up', in_turn, in_writer USING ERRCODE = 'TL001';
  END IF;
END $$;

-- Move the line on, from where this turn found it.
CREATE FUNCTION {schema}.advance_line_v1(
  in_epoch text, in_from bigint, in_to bigint, in_at double precision, in_floor bigint,
  in_topic text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE {schema}.line
  SET head = in_to, published_at = in_at, floor = greatest(floor, in_floor),
      revision = revision + (in_floor IS NOT NULL)::int
  WHERE epoch = in_epoch AND head = in_from;
  IF NOT FOUND THEN
    -- Only somebody who holds another lock can have been here.
    RAISE EXCEPTION 'the line moved under its lock' USING ERRCODE = '40001';
  END IF;
  PERFORM pg_notify(in_topic, in_epoch || ' ' || in_to);
END $$;

-- Hide what is older than a moment; oldest_at is brought up to date.
CREATE FUNCTION {schema}.expire_v1(in_channel bigint, in_cutoff double precision)
RETURNS TABLE (hidden bigint, floor_global bigint) LANGUAGE plpgsql AS $$
DECLARE
  c record;
  kept record;
  new_floor bigint;
BEGIN
  SELECT t.floor, t.last_id INTO c FROM {schema}.channel t WHERE t.channel_id = in_channel;
  SELECT m.message_id, m.published_at INTO kept FROM {schema}.message m
  WHERE m.channel_id = in_channel AND m.message_id > c.floor AND m.published_at >= in_cutoff
  ORDER BY m.message_id LIMIT 1;
  new_floor := coalesce(kept.message_id - 1, c.last_id);
  hidden := new_floor - c.floor;
  IF hidden > 0 THEN
    SELECT m.global_id INTO floor_global FROM {schema}.message m
    WHERE m.channel_id = in_channel AND m.message_id = new_floor;
  END IF;
  UPDATE {schema}.channel t
  SET floor = new_floor, floor_global = coalesce(expire_v1.floor_global, t.floor_global),
      oldest_at = coalesce(kept.published_at, t.oldest_at)
  WHERE t.channel_id = in_channel;
  RETURN NEXT;
END $$;

-- One draft without conditions: no arrays, and the helpers' statements in place, for a lone
-- publisher waits for each of them.
CREATE FUNCTION {schema}.append_one_v1(
  in_lock integer, in_wait integer, in_topic text, in_writer uuid, in_turn bigint,
  in_now double precision, in_site text, in_name text, in_data bytea, in_audience bytea,
  in_headers bytea, in_size bigint, in_every bigint, in_age double precision
) RETURNS text
LANGUAGE plpgsql AS $$
<<own>>
DECLARE
  epoch text;
  head bigint;
  answer bigint[];
  hidden bigint := 0;
  at double precision;
  c record;
  new_floor bigint;
  expired record;
  raised bigint;
BEGIN
  PERFORM set_config('lock_timeout', in_wait::text, true),
          CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'on', true) END,
          pg_advisory_xact_lock(1953656427, in_lock);
  SELECT l.epoch, l.head, greatest(l.published_at, in_now) INTO epoch, head, at
  FROM {schema}.line l;
  SELECT t.channel_id, t.last_id, t.floor, t.floor_global,
         CASE WHEN t.floor = t.last_id THEN at ELSE t.oldest_at END AS oldest_at
  INTO c FROM {schema}.channel t WHERE t.site_id = in_site AND t.name = in_name;
  IF NOT FOUND THEN
    INSERT INTO {schema}.channel AS t
      (site_id, name, kind, last_id, floor, floor_global, published_at, oldest_at)
    VALUES (in_site, in_name, 'plain', 0, 0, 0, at, at)
    RETURNING t.channel_id, t.last_id, t.floor, t.floor_global, t.oldest_at INTO c;
  END IF;
  new_floor := c.floor;
  IF in_size IS NOT NULL AND (c.last_id + 1) % in_every = 0 AND c.last_id + 1 - in_size > c.floor
  THEN
    new_floor := c.last_id + 1 - in_size;
    hidden := new_floor - c.floor;
    SELECT m.global_id INTO raised FROM {schema}.message m
    WHERE m.channel_id = c.channel_id AND m.message_id = new_floor;
  END IF;
  INSERT INTO {schema}.message VALUES
    (head + 1, c.channel_id, c.last_id + 1, at, in_data, in_audience, in_headers);
  UPDATE {schema}.channel t
  SET last_id = c.last_id + 1, floor = new_floor, floor_global = coalesce(raised, c.floor_global),
      published_at = at, oldest_at = c.oldest_at
  WHERE t.channel_id = c.channel_id;
  IF c.oldest_at < in_now - in_age THEN
    SELECT e.hidden, e.floor_global INTO expired
    FROM {schema}.expire_v1(c.channel_id, in_now - in_age) e;
    hidden := hidden + expired.hidden;
    raised := greatest(raised, expired.floor_global);
  END IF;
  answer := ARRAY[c.last_id];
  UPDATE {schema}.writer w
  SET turn = in_turn, epoch = own.epoch, head = own.head,
      answer = own.answer, seen_at = now()
  WHERE w.writer_id = in_writer AND w.turn < in_turn;
  IF NOT FOUND THEN
    PERFORM {schema}.note_turn_v1(in_writer, in_turn, epoch, head, answer);
  END IF;
  UPDATE {schema}.line l
  SET head = own.head + 1, published_at = at, floor = greatest(l.floor, raised),
      revision = l.revision + (raised IS NOT NULL)::int
  WHERE l.epoch = own.epoch AND l.head = own.head;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the line moved under its lock' USING ERRCODE = '40001';
  END IF;
  PERFORM pg_notify(in_topic, epoch || ' ' || head + 1);
  RETURN concat_ws(' ', epoch, head, hidden, array_to_string(answer, ','));
END $$;

-- Many drafts for plain channels, none with a condition. Arrays: one element per channel, then
-- one per draft, whose channel is a number from 1 and whose offset counts within its channel.
-- Answers each channel's last id from before.
CREATE FUNCTION {schema}.append_v1(
  in_lock integer, in_wait integer, in_topic text, in_writer uuid, in_turn bigint,
  in_now double precision,
  in_sites text[], in_names text[], in_counts bigint[], in_keeps bigint[],
  in_ages double precision[],
  in_channels bigint[], in_offsets bigint[], in_datas bytea[], in_audiences bytea[],
  in_headers bytea[]
) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
<<own>>
DECLARE
  epoch text;
  head bigint;
  answer bigint[];
  hidden bigint := 0;
  at double precision;
  idents bigint[];
  floors bigint[];
  raised bigint;
  stale bigint[];
  cutoffs double precision[];
  expired record;
BEGIN
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  SELECT l.epoch, l.head, greatest(l.published_at, in_now) INTO epoch, head, at
  FROM {schema}.line l;
  FOR pass IN 1..2 LOOP
    SELECT array_agg(c.channel_id ORDER BY t.n), array_agg(c.last_id ORDER BY t.n),
           array_agg(c.floor ORDER BY t.n)
    INTO idents, answer, floors
    FROM unnest(in_sites, in_names) WITH ORDINALITY t (site, name, n)
    LEFT JOIN {schema}.channel c ON c.site_id = t.site AND c.name = t.name;
    EXIT WHEN array_position(idents, NULL) IS NULL;
    INSERT INTO {schema}.channel
      (site_id, name, kind, last_id, floor, floor_global, published_at, oldest_at)
    SELECT t.site, t.name, 'plain', 0, 0, 0, at, at
    FROM unnest(in_sites, in_names) WITH ORDINALITY t (site, name, n)
    WHERE idents[t.n] IS NULL ORDER BY t.n;
  END LOOP;
  INSERT INTO {schema}.message
  SELECT head + d.n, idents[d.channel], answer[d.channel] + d.off, at, d.data, d.audience, d.headers
  FROM unnest(in_channels, in_offsets, in_datas, in_audiences, in_headers)
    WITH ORDINALITY d (channel, off, data, audience, headers, n);
  WITH grown AS (
    UPDATE {schema}.channel c
    SET last_id = c.last_id + t.count, published_at = at,
        oldest_at = CASE WHEN c.floor = c.last_id THEN at ELSE c.oldest_at END,
        floor = greatest(c.floor, c.last_id + t.keep),
        floor_global = CASE WHEN c.last_id + t.keep > c.floor THEN (
          SELECT m.global_id FROM {schema}.message m
          WHERE m.channel_id = c.channel_id AND m.message_id = c.last_id + t.keep
        ) ELSE c.floor_global END
    FROM unnest(idents, floors, in_counts, in_keeps, in_ages) t (ident, floor, count, keep, age)
    WHERE c.channel_id = t.ident
    RETURNING c.channel_id, c.floor - t.floor AS hidden, c.floor_global, c.oldest_at,
              in_now - t.age AS cutoff
  )
  SELECT coalesce(sum(g.hidden), 0), max(g.floor_global) FILTER (WHERE g.hidden > 0),
         array_agg(g.channel_id) FILTER (WHERE g.oldest_at < g.cutoff),
         array_agg(g.cutoff) FILTER (WHERE g.oldest_at < g.cutoff)
  INTO hidden, raised, stale, cutoffs FROM grown g;
  FOR i IN 1..coalesce(cardinality(stale), 0) LOOP
    SELECT e.hidden, e.floor_global INTO expired FROM {schema}.expire_v1(stale[i], cutoffs[i]) e;
    hidden := hidden + expired.hidden;
    raised := greatest(raised, expired.floor_global);
  END LOOP;
  PERFORM {schema}.note_turn_v1(in_writer, in_turn, epoch, head, answer);
  PERFORM {schema}.advance_line_v1(
    epoch, head, head + cardinality(in_channels), at, raised, in_topic
  );
  RETURN concat_ws(' ', epoch, head, hidden, array_to_string(answer, ','));
END $$;

-- Groups that may be refused: each whole or not at all, each seeing those before it. A draft's
-- verdict is 1 stored, 2 repeat, 0 refused beside 3 wrong version or 4 key with other content.
-- Answers three arrays in a row: message ids (the actual version at a 3), global ids, verdicts.
CREATE FUNCTION {schema}.append_if_v1(
  in_lock integer, in_wait integer, in_topic text, in_writer uuid, in_turn bigint,
  in_now double precision,
  in_sites text[], in_names text[], in_kinds text[],
  in_ends bigint[],
  in_channels bigint[], in_datas bytea[], in_audiences bytea[], in_headers bytea[],
  in_expected bigint[], in_sizes bigint[], in_everies bigint[], in_ages double precision[],
  in_key_of bigint[], in_prints bytea[],
  in_key_channels bigint[], in_keys bytea[]
) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
<<own>>
DECLARE
  epoch text;
  head bigint;
  answer bigint[];
  hidden bigint := 0;
  at double precision;
  idents bigint[];
  floors bigint[];
  lasts bigint[];
  befores bigint[];
  known_prints bytea[] := '{}';
  known_messages bigint[] := '{}';
  known_globals bigint[] := '{}';
  total constant bigint := cardinality(in_channels);
  messages bigint[] := array_fill(0::bigint, ARRAY[total::int]);
  globals bigint[] := array_fill(0::bigint, ARRAY[total::int]);
  verdicts bigint[] := array_fill(0::bigint, ARRAY[total::int]);
  last_global bigint;
  first bigint := 1;
  group_end bigint;
  reason bigint;
  c bigint;
  k bigint;
  raised bigint;
  grown record;
  expired record;
BEGIN
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  SELECT l.epoch, l.head, greatest(l.published_at, in_now) INTO epoch, head, at
  FROM {schema}.line l;
  SELECT array_agg(t.channel_id ORDER BY n.n), array_agg(coalesce(t.last_id, 0) ORDER BY n.n),
         array_agg(coalesce(t.floor, 0) ORDER BY n.n)
  INTO idents, lasts, floors
  FROM unnest(in_sites, in_names) WITH ORDINALITY n (site, name, n)
  LEFT JOIN {schema}.channel t ON t.site_id = n.site AND t.name = n.name;
  befores := lasts;
  IF cardinality(in_keys) > 0 THEN
    SELECT array_agg(r.fingerprint ORDER BY n.n), array_agg(r.message_id ORDER BY n.n),
           array_agg(r.global_id ORDER BY n.n)
    INTO known_prints, known_messages, known_globals
    FROM unnest(in_key_channels, in_keys) WITH ORDINALITY n (channel, key, n)
    LEFT JOIN {schema}.receipt r ON r.channel_id = idents[n.channel] AND r.key = n.key;
  END IF;
  last_global := head;
  FOREACH group_end IN ARRAY in_ends LOOP
    reason := 0;
    FOR i IN first..group_end LOOP
      c := in_channels[i];
      k := in_key_of[i];
      IF k > 0 AND known_prints[k] IS NOT NULL THEN
        IF known_prints[k] <> in_prints[i] THEN
          reason := 4;
        ELSE
          messages[i] := known_messages[k];
          globals[i] := known_globals[k];
          verdicts[i] := 2;
        END IF;
      ELSIF in_expected[i] <> lasts[c] THEN
        reason := 3;
      ELSE
        lasts[c] := lasts[c] + 1;
        last_global := last_global + 1;
        messages[i] := lasts[c];
        globals[i] := last_global;
        verdicts[i] := 1;
        IF k > 0 THEN
          known_prints[k] := in_prints[i];
          known_messages[k] := lasts[c];
          known_globals[k] := last_global;
        END IF;
      END IF;
      IF reason > 0 THEN
        -- Take back what this group did before.
        k := lasts[c];
        FOR j IN first..i - 1 LOOP
          IF verdicts[j] = 1 THEN
            lasts[in_channels[j]] := lasts[in_channels[j]] - 1;
            last_global := last_global - 1;
            IF in_key_of[j] > 0 THEN known_prints[in_key_of[j]] := NULL; END IF;
          END IF;
          verdicts[j] := 0;
        END LOOP;
        messages[i] := k;
        verdicts[i] := reason;
        EXIT;
      END IF;
    END LOOP;
    first := group_end + 1;
  END LOOP;
  answer := messages || globals || verdicts;
  IF last_global = head THEN
    RETURN concat_ws(' ', epoch, head, hidden, array_to_string(answer, ','));
  END IF;
  INSERT INTO {schema}.channel
    (site_id, name, kind, last_id, floor, floor_global, published_at, oldest_at)
  SELECT t.site, t.name, t.kind, 0, 0, 0, at, at
  FROM unnest(in_sites, in_names, in_kinds) WITH ORDINALITY t (site, name, kind, n)
  WHERE idents[t.n] IS NULL AND lasts[t.n] > 0 ORDER BY t.n;
  IF FOUND THEN
    SELECT array_agg(t.channel_id ORDER BY n.n) INTO idents
    FROM unnest(in_sites, in_names) WITH ORDINALITY n (site, name, n)
    LEFT JOIN {schema}.channel t ON t.site_id = n.site AND t.name = n.name;
  END IF;
  INSERT INTO {schema}.message
  SELECT d.global_id, idents[d.channel], d.message_id, at, d.data, d.audience, d.headers
  FROM unnest(globals, in_channels, messages, verdicts, in_datas, in_audiences, in_headers)
    d (global_id, channel, message_id, verdict, data, audience, headers)
  WHERE d.verdict = 1;
  INSERT INTO {schema}.receipt
  SELECT idents[d.channel], in_keys[d.key], d.print, d.message_id, d.global_id, at
  FROM unnest(globals, in_channels, messages, verdicts, in_key_of, in_prints)
    d (global_id, channel, message_id, verdict, key, print)
  WHERE d.verdict = 1 AND d.key > 0;
  FOR grown IN
    WITH limits AS (
      SELECT d.channel, min(d.age) AS age, max(d.message_id - d.size) FILTER (
        WHERE d.message_id > d.size AND d.message_id % d.every = 0
      ) AS floor
      FROM unnest(in_channels, messages, verdicts, in_sizes, in_everies, in_ages)
        d (channel, message_id, verdict, size, every, age)
      WHERE d.verdict = 1 GROUP BY d.channel
    )
    UPDATE {schema}.channel t
    SET last_id = lasts[l.channel], published_at = at,
        oldest_at = CASE WHEN t.floor = t.last_id THEN at ELSE t.oldest_at END,
        floor = greatest(t.floor, l.floor),
        floor_global = CASE WHEN l.floor > t.floor THEN (
          SELECT m.global_id FROM {schema}.message m
          WHERE m.channel_id = t.channel_id AND m.message_id = l.floor
        ) ELSE t.floor_global END
    FROM limits l WHERE t.channel_id = idents[l.channel]
    RETURNING t.channel_id, t.floor - floors[l.channel] AS hidden, t.floor_global, t.oldest_at,
              in_now - l.age AS cutoff
  LOOP
    IF grown.hidden > 0 THEN
      hidden := hidden + grown.hidden;
      raised := greatest(raised, grown.floor_global);
    END IF;
    IF grown.oldest_at < grown.cutoff THEN
      SELECT e.hidden, e.floor_global INTO expired
      FROM {schema}.expire_v1(grown.channel_id, grown.cutoff) e;
      hidden := hidden + expired.hidden;
      raised := greatest(raised, expired.floor_global);
    END IF;
  END LOOP;
  PERFORM {schema}.note_turn_v1(in_writer, in_turn, epoch, head, answer);
  PERFORM {schema}.advance_line_v1(epoch, head, last_global, at, raised, in_topic);
  RETURN concat_ws(' ', epoch, head, hidden, array_to_string(answer, ','));
END $$;

-- Find what became of a turn whose answer was lost. One that is not stored by now never will be.
CREATE FUNCTION {schema}.settle_v1(
  in_lock integer, in_wait integer, in_writer uuid, in_turn bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  w record;
BEGIN
  PERFORM {schema}.take_tail_v1(in_lock, in_wait);
  SELECT t.epoch, t.head, t.answer INTO w
  FROM {schema}.writer t WHERE t.writer_id = in_writer AND t.turn = in_turn;
  IF NOT FOUND THEN
    PERFORM {schema}.note_turn_v1(in_writer, in_turn, '', 0, NULL);
    RETURN NULL;
  END IF;
  IF w.answer IS NULL THEN RETURN NULL; END IF;
  RETURN concat_ws(' ', w.epoch, w.head, 0, array_to_string(w.answer, ','));
END $$;

-- A channel's newest message id whose global id is at most in_after. Kept ids are dense and rise
-- with the global ids, so no second index is needed: run back from the end, then halve.
CREATE FUNCTION {schema}.id_after_v1(
  in_channel bigint, in_floor bigint, in_last bigint, in_after bigint
) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
  low bigint := in_floor;
  high bigint := in_last;
  step bigint := 1;
  probe bigint := in_last;
BEGIN
  IF in_after <= 0 THEN RETURN low; END IF;
  WHILE low < high LOOP
    IF (SELECT m.global_id FROM {schema}.message m
        WHERE m.channel_id = in_channel AND m.message_id = probe) <= in_after THEN
      low := probe;
      step := 0;
    ELSE
      high := probe - 1;
      step := step * 2;
    END IF;
    IF step > 0 THEN
      probe := greatest(high - step, low + 1);
    ELSE
      probe := (low + high + 1) / 2;
    END IF;
  END LOOP;
  RETURN low;
END $$;

-- One event for one stream, as a lone command decides it: no arrays, and the helpers' statements in
-- place, for whoever sent the command waits for each of them. Answers like append_if_v1.
CREATE FUNCTION {schema}.append_next_v1(
  in_lock integer, in_wait integer, in_topic text, in_writer uuid, in_turn bigint,
  in_now double precision, in_site text, in_name text, in_data bytea, in_headers bytea,
  in_expected bigint
) RETURNS text
LANGUAGE plpgsql AS $$
<<own>>
DECLARE
  epoch text;
  head bigint;
  answer bigint[];
  at double precision;
  ident bigint;
  last bigint;
BEGIN
  PERFORM set_config('lock_timeout', in_wait::text, true),
          CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'on', true) END,
          pg_advisory_xact_lock(1953656427, in_lock);
  SELECT l.epoch, l.head, greatest(l.published_at, in_now), t.channel_id, coalesce(t.last_id, 0)
  INTO epoch, head, at, ident, last
  FROM {schema}.line l
  LEFT JOIN {schema}.channel t ON t.site_id = in_site AND t.name = in_name;
  IF last <> in_expected THEN
    RETURN concat_ws(' ', epoch, head, 0, array_to_string(ARRAY[last, 0, 3], ','));
  END IF;
  IF ident IS NULL THEN
    INSERT INTO {schema}.channel AS t
      (site_id, name, kind, last_id, floor, floor_global, published_at, oldest_at)
    VALUES (in_site, in_name, 'stream', 1, 0, 0, at, at)
    RETURNING t.channel_id INTO ident;
  ELSE
    UPDATE {schema}.channel t
    SET last_id = last + 1, published_at = at,
        oldest_at = CASE WHEN t.floor = t.last_id THEN at ELSE t.oldest_at END
    WHERE t.channel_id = ident;
  END IF;
  INSERT INTO {schema}.message VALUES
    (head + 1, ident, last + 1, at, in_data, NULL, in_headers);
  answer := ARRAY[last + 1, head + 1, 1];
  UPDATE {schema}.writer w
  SET turn = in_turn, epoch = own.epoch, head = own.head,
      answer = own.answer, seen_at = now()
  WHERE w.writer_id = in_writer AND w.turn < in_turn;
  IF NOT FOUND THEN
    PERFORM {schema}.note_turn_v1(in_writer, in_turn, epoch, head, answer);
  END IF;
  UPDATE {schema}.line l
  SET head = own.head + 1, published_at = at
  WHERE l.epoch = own.epoch AND l.head = own.head;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the line moved under its lock' USING ERRCODE = '40001';
  END IF;
  PERFORM pg_notify(in_topic, epoch || ' ' || head + 1);
  RETURN concat_ws(' ', epoch, head, 0, array_to_string(answer, ','));
END $$;

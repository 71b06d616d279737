-- The same as append_next_v1, but a refusal undoes the statement it is part of. So one statement can
-- hold a lone command's write and its event, and be a transaction by itself.
CREATE FUNCTION {schema}.append_sure_v1(
  in_lock integer, in_wait integer, in_topic text, in_writer uuid, in_turn bigint,
  in_now double precision, in_site text, in_name text, in_data bytea, in_headers bytea,
  in_expected bigint, in_epoch text
) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  answer := {schema}.append_next_v1(
    in_lock, in_wait, in_topic, in_writer, in_turn, in_now, in_site, in_name, in_data, in_headers,
    in_expected);
  IF in_epoch NOT IN ('', split_part(answer, ' ', 1)) THEN
    RAISE EXCEPTION 'the line has another epoch' USING ERRCODE = 'TL002';
  END IF;
  IF answer LIKE '%,3' THEN
    RAISE EXCEPTION 'the stream has another version' USING ERRCODE = 'TL001', DETAIL = answer;
  END IF;
  RETURN answer;
END $$;

-- What products and categories are found by. The functions of SQL have bodies that PostgreSQL
-- parses when they are made, and triggers keep the search path of that moment, so that they work
-- under any (pg_restore has none).

CREATE TABLE IF NOT EXISTS search_words (word text COLLATE "C" NOT NULL);
CREATE TABLE IF NOT EXISTS search_configuration (
    name varchar(63) NOT NULL, CONSTRAINT pk_search_configuration PRIMARY KEY (name)
);
ALTER TABLE categories ADD COLUMN IF NOT EXISTS words tsvector;
ALTER TABLE products
    ADD COLUMN IF NOT EXISTS words tsvector,
    ADD COLUMN IF NOT EXISTS name_key text COLLATE "C",
    ADD COLUMN IF NOT EXISTS in_stock boolean;

-- Return the text in lower case, without accents. Most texts are ASCII, for which that is fast.
CREATE OR REPLACE FUNCTION shop_plain(t text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN octet_length(t) = char_length(t) THEN lower(t COLLATE "C") COLLATE "default"
    ELSE translate(
        lower(
            unaccent(
                'unaccent'::regdictionary,
                normalize(
                    -- Accents, soft hyphens, and what joins or varies characters unseen.
                    regexp_replace(
                        normalize(t, NFKD),
                        '[\u00AD\u0300-\u036F\u200B-\u200D\u2060\uFE00-\uFE0F\uFEFF]+', '', 'g'
                    ),
                    NFC
                )
            ) COLLATE shop_case
        ),
        'ς', 'σ'
    ) COLLATE "default"
END;

-- Return the text's words with one space between them. What is no letter and no digit is named by
-- its ranges in Unicode, because what PostgreSQL takes for one
-- depends on the locale.
CREATE OR REPLACE FUNCTION shop_words(t text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN btrim(regexp_replace(
    t,
    '[\u0001-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u00A9\u00AB-\u00B1\u00B4\u00B6-\u00B8\u00BB'
    '\u00BF\u00D7\u00F7\u02B9-\u02DF\u037E\u0387\u055A-\u055F\u0589\u058A\u05BE\u05C0\u05C3\u05C6'
    '\u05F3\u05F4\u0609-\u060D\u061B-\u061F\u066A-\u066D\u06D4\u0964\u0965\u0970\u0E2F\u0E4F\u0E5A'
    '\u0E5B\u10FB\u1680\u180E\u2000-\u206F\u20A0-\u20CF\u2190-\u245F\u2500-\u2BFF\u2E00-\u2E7F'
    '\u3000-\u3004\u3008-\u3020\u3030\u303D\u30FB\uE000-\uF8FF\uFE10-\uFE6F\uFF01-\uFF0F'
    '\uFF1A-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFFF\U0001F000-\U0001FAFF]+',
    ' ', 'g'
));

-- Return the words of the text in lower case, without accents, with one space between them.
CREATE OR REPLACE FUNCTION shop_fold(t text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN shop_words(shop_plain(t));

-- Return what names are sorted by. It is short enough for an index, whatever the name.
CREATE OR REPLACE FUNCTION shop_name_key(t text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN left(btrim(regexp_replace(shop_plain(t), '\s+', ' ', 'g')), 200);

-- What follows is called for each row that is written, and PL/pgSQL keeps its plans.

-- Return the text-search configuration that the rows are indexed with besides `simple`.
CREATE OR REPLACE FUNCTION shop_search_configuration() RETURNS regconfig
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$ BEGIN
    RETURN coalesce((SELECT name FROM search_configuration), 'simple')::regconfig;
END $$;

-- Return the stems of a word. Each begins with `=`, which no word does: so `=cas` is the stem of
-- casas and of casa, and no stem is taken for a word. A stemmer may know a word with its accents
-- alone, and buyers leave them out: both are asked.
CREATE OR REPLACE FUNCTION shop_stems(word text, configuration regconfig) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ DECLARE
    lexeme text;
    stem text;
    stems text[] := '{}';
BEGIN
    FOREACH lexeme IN ARRAY tsvector_to_array(to_tsvector(configuration, word))
        || tsvector_to_array(to_tsvector(configuration, shop_fold(word)))
    LOOP
        stem := '=' || left(shop_fold(lexeme), 100);
        IF stem <> ALL (stems) THEN
            stems := stems || stem;
        END IF;
    END LOOP;
    RETURN stems;
END $$;

-- Return the words of the text, and their stems, as the text of a tsvector, with a weight and the
-- positions after `after`. They are put together in one go, because a letter may unfold to four
-- words, and stems are asked for once for each word.
CREATE OR REPLACE FUNCTION shop_lexemes(
    t text, weight text, after integer, configuration regconfig
) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ DECLARE
    word text;
    place integer := after;
    lexemes text[] := '{}';
    written text[];
    stems text;
BEGIN
    FOREACH word IN ARRAY string_to_array(shop_fold(t), ' ') LOOP
        place := place + 1;
        lexemes := lexemes || ('''' || left(word, 100) || ''':' || place || weight);
    END LOOP;
    IF configuration = 'simple'::regconfig THEN
        RETURN array_to_string(lexemes, ' ') || ' ';
    END IF;
    written := string_to_array(shop_words(lower(t COLLATE shop_case)), ' ');
    SELECT string_agg('''' || stem || ''':' || places, ' ') INTO stems
    FROM (
        SELECT shop_stems(term, configuration) AS forms, string_agg(after + n || weight, ',')
        FROM unnest(written) WITH ORDINALITY AS terms (term, n) GROUP BY term
    ) AS stemmed (forms, places), unnest(forms) AS stem;
    RETURN concat_ws(' ', array_to_string(lexemes, ' '), stems, '');
END $$;

-- Return what a product is found by. No phrase goes from one of its texts into another, because
-- their positions are apart. A SKU is found by its parts, and whole, however it is written.
CREATE OR REPLACE FUNCTION shop_product_words(
    name text, sku text, description text, configuration regconfig
) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    shop_lexemes(name, 'A', 0, configuration)
    || shop_lexemes(coalesce(sku, ''), 'B', 2000, 'simple')
    || shop_lexemes(replace(shop_fold(coalesce(sku, '')), ' ', ''), 'B', 2100, 'simple')
    || shop_lexemes(description, 'D', 3000, configuration)
)::tsvector;

-- Return the word, and what is left of it without each of its letters. Two words that are one
-- edit apart, a swap of two letters too, have one of these in common.
CREATE OR REPLACE FUNCTION shop_deletions(word text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ DECLARE
    deletions text[] := ARRAY[word];
BEGIN
    FOR n IN 1..char_length(word) LOOP
        deletions := deletions || overlay(word PLACING '' FROM n FOR 1);
    END LOOP;
    RETURN deletions;
END $$;

-- Return the query that finds any of the words; `mark` is what follows each in a tsquery: weights
-- of the texts to look in, and * for words that begin so.
CREATE OR REPLACE FUNCTION shop_query(words text[], mark text) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ DECLARE
    word text;
    found tsquery := '';
BEGIN
    FOREACH word IN ARRAY words LOOP
        found := found || (quote_literal(word) || ':' || mark)::tsquery;
    END LOOP;
    RETURN found;
END $$;

-- Return words that may be near one that was mistyped: those one edit apart, and of a long one
-- those that share a fifth of its trigrams.
CREATE OR REPLACE FUNCTION shop_near(typed text) RETURNS SETOF text
LANGUAGE plpgsql STRICT SET search_path FROM CURRENT AS $$ BEGIN
    RETURN QUERY SELECT word FROM search_words WHERE shop_deletions(word) && shop_deletions(typed);
    IF char_length(typed) >= 7 THEN
        PERFORM set_config('pg_trgm.similarity_threshold', '0.2', true);
        RETURN QUERY SELECT word FROM search_words
            WHERE word % typed AND abs(char_length(word) - char_length(typed)) <= 2
            ORDER BY similarity(word, typed) DESC, word LIMIT 100;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION shop_index_product() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN
    NEW.words := shop_product_words(
        NEW.name, NEW.sku, NEW.description, shop_search_configuration()
    );
    NEW.name_key := shop_name_key(NEW.name);
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION shop_mark_stock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.in_stock := NEW.stock > 0;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION shop_index_category() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN
    NEW.words := shop_lexemes(NEW.name, 'A', 0, shop_search_configuration())::tsvector;
    RETURN NEW;
END $$;

-- Add the words of new rows that nothing had. SKUs are no words, and neither are stems.
-- No writer waits for another: both add a word that is new to them, and it is there twice. The
-- lock keeps out `flask search rebuild` alone, which deletes what nothing has any more: the
-- statement after it sees what that has left.
CREATE OR REPLACE FUNCTION shop_learn_new() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN
    LOCK TABLE search_words IN ROW EXCLUSIVE MODE;
    INSERT INTO search_words (word)
    SELECT DISTINCT lexeme
    FROM new_rows, unnest(ts_filter(new_rows.words, '{a,d}'))
    WHERE left(lexeme, 1) <> '='
        AND NOT EXISTS (SELECT FROM search_words AS known WHERE known.word = lexeme);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION shop_learn_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN
    LOCK TABLE search_words IN ROW EXCLUSIVE MODE;
    INSERT INTO search_words (word)
    SELECT lexeme
    FROM unnest(ts_filter(NEW.words, '{a,d}'))
    WHERE left(lexeme, 1) <> '='
        AND NOT EXISTS (SELECT FROM search_words AS known WHERE known.word = lexeme);
    RETURN NULL;
END $$;

-- What marks and learns comes before what indexes: a row that is written between two of these has no
-- words yet that nothing would learn.
CREATE OR REPLACE TRIGGER mark_stock
    BEFORE INSERT OR UPDATE OF stock, in_stock ON products
    FOR EACH ROW EXECUTE FUNCTION shop_mark_stock();
CREATE OR REPLACE TRIGGER learn_new AFTER INSERT ON products REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shop_learn_new();
CREATE OR REPLACE TRIGGER learn_changed AFTER UPDATE OF name, sku, description, words ON products
    FOR EACH ROW WHEN (NEW.words IS DISTINCT FROM OLD.words)
    EXECUTE FUNCTION shop_learn_changed();
CREATE OR REPLACE TRIGGER index_product
    BEFORE INSERT OR UPDATE OF name, sku, description, words ON products
    FOR EACH ROW EXECUTE FUNCTION shop_index_product();
CREATE OR REPLACE TRIGGER learn_new AFTER INSERT ON categories REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shop_learn_new();
CREATE OR REPLACE TRIGGER learn_changed AFTER UPDATE OF name, words ON categories
    FOR EACH ROW WHEN (NEW.words IS DISTINCT FROM OLD.words)
    EXECUTE FUNCTION shop_learn_changed();
CREATE OR REPLACE TRIGGER index_category BEFORE INSERT OR UPDATE OF name, words ON categories
    FOR EACH ROW EXECUTE FUNCTION shop_index_category();

-- Which instance of a read model queries read. What may be deleted are the instances themselves.
CREATE TABLE read_models (
    projection text COLLATE "C" PRIMARY KEY,
    active     int8 NOT NULL,
    previous   int8,
    form       text NOT NULL,
    digest     text NOT NULL
);

select '\'; x;'; y; B'\' X'\'; -- note\! id

-- The database itself, where a server does not have it. Texts are compared byte by byte.
CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

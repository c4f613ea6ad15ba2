create table users (id varchar(20), name varchar(60), home varchar(60), n int);
insert into users values ('userx', 'Mister X', '/home/userx', 1), ('o''hara', 'say "hi" \', null, 2), ('empty', '', '', 3), ('nl', E'two\nlines', '"', 4);
create table changed (id varchar(20), who varchar(20));
create role mailer login password 'pw';
grant all on users, changed to mailer;

# SPDX-License-Identifier: GPL-2.0-or-later
#
# Munge.pm - normalises what the program under test wrote.
#
# Everything that differs from run to run or from machine to machine (times,
# message ids, pids, ports, the names of the host and its users, the place of
# the test directory) is replaced by the fixed word that stands in the expected
# files. Nothing else is touched: a difference in behaviour must stay visible.
# One object serves one case, because ids, pids and ports are numbered in order
# of appearance over all the files of the case. All text is bytes.
#
# The order of the groups in munge_line() matters and is part of the contract
# with the expected files; test/README lists the groups.

package Munge;

use strict;
use warnings;

my %MONTH;
@MONTH{qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)} = (0 .. 11);

my $MON   = qr/(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/;
my $DAY   = qr/(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)/;
my $HMS   = qr/\d\d:\d\d:\d\d/;
my $DATE  = qr/\d\d-$MON-\d{4} $HMS/;
my $ZONE  = qr/[-+]\d{4}/;
my $SHADE = "\xE2\x96\x91";                 # the block character that shows a blank
my $GAP   = qr/(?: |$SHADE)/;
my $AN    = qr/[0-9A-Za-z]/;
my $SHORT_ID = qr/\d$AN{5}-$AN{6}-$AN{2}(?!$AN)/;
my $LONG_ID  = qr/\d$AN{5}-$AN{11}-$AN{4}(?!$AN)/;
my $IP4   = qr/\d+\.\d+\.\d+\.\d+/;

# Keys: dir hostname ipv4 ipv6 caller caller_uid caller_gid caller_group home
# gecos exim_user exim_group exim_uid exim_gid ports (name => number)
# port_dynamic is_ipv6_case custom want_rmfiltertest want_old_ids no_munge
sub new {
  my ($class, %env) = @_;
  my $self = {
    %env,
    id_map => {}, long_next => 'aX', short_next => 'aX',
    pid_map => {}, pid_next => 1234,
    port_map => {}, port_next => 10001,
    conn_map => {}, conn_next => 1111,
    maildir_next => 1,
  };
  my %name = map { $env{ports}{$_} => "PORT_$_" } keys %{ $env{ports} };
  $self->{port_name} = \%name;
  my $any = join '|', map { quotemeta } sort { length $b <=> length $a } keys %name;
  $self->{re_port} = qr/(?<!\d)(?:$any)(?!\d)/;
  my @d = map { quotemeta $env{ports}{$_} } qw(D D2 D3 D4);
  $self->{re_port_d} = qr/(?<!\d)(?:@{[join '|', @d]})(?!\d)/;
  return bless $self, $class;
}

# ---- numbered replacements ----

sub message_id {
  my ($self, $old) = @_;
  return $self->{id_map}{$old} if defined $self->{id_map}{$old};
  my $is_short = length($old) == 16;
  my $new;
  if ($is_short && !$self->{want_old_ids}) {
    $new = '10Hm' . $self->{short_next}++ . '-0005vi-00';
  } else {
    $new = '10Hm' . $self->{long_next}++ . '-000000005vi-0000';
  }
  return $self->{id_map}{$old} = $new;
}

sub map_ids {
  my ($self, $text) = @_;
  $text =~ s/($SHORT_ID)/$self->message_id($1)/ge;
  $text =~ s/($LONG_ID)/$self->id_unless_done($1)/ge;
  return $text;
}

# A replaced id has the shape of an id itself; do not number it again.
sub id_unless_done {
  my ($self, $id) = @_;
  return $id if $id =~ /^10Hm[a-z]+[A-Z]-000000005vi-0000$/;
  return $self->message_id($id);
}

sub pid_number {
  my ($self, $old) = @_;
  return $self->{pid_map}{$old} //= $self->{pid_next}++;
}

# In the brackets of a log line the same process has a number of its own.
sub tag_number {
  my ($self, $old) = @_;
  return $self->{pid_map}{"[$old"} //= $self->{pid_next}++;
}

sub port_number {
  my ($self, $old) = @_;
  return $self->{port_map}{$old} //= $self->{port_next}++;
}

sub conn_name {
  my ($self, $old) = @_;
  return $self->{conn_map}{$old} //= 'conn' . $self->{conn_next}++;
}

# ---- times ----

# Seconds since 1970 for the parts of "dd-Mon-yyyy hh:mm:ss", taken as UTC.
sub seconds_of {
  my ($d, $mon, $y, $h, $m, $s) = $_[0] =~ /^(\d\d)-(\w+)-(\d+) (\d\d):(\d\d):(\d\d)/;
  my $mo = $MONTH{$mon} + 1;
  $y-- if $mo <= 2;
  my $era_year = $y % 400;
  my $era = ($y - $era_year) / 400;
  my $yday = int((153 * ($mo + ($mo > 2 ? -3 : 9)) + 2) / 5) + $d - 1;
  my $days = $era * 146097 + $era_year * 365 + int($era_year / 4) - int($era_year / 100) + $yday - 719468;
  return (($days * 24 + $h) * 60 + $m) * 60 + $s;
}

# The line of times of a retry record. Returns undef when it is something else.
sub retry_times {
  my ($line) = @_;
  my ($last, $next, $star) = $line =~ /^$DATE  ($DATE)  ($DATE)( \*)?\s*$/ or return undef;
  my $n = seconds_of($next) - seconds_of($last) + 1;
  $n = 2 if $n == 0;
  $n -= $n % 2;
  return 'first failed = time last try = time2 next try = time2 + ' . $n . ($star // '');
}

sub dates {
  my ($self) = @_;
  s/$DAY,($GAP)[ \d]?\d($GAP)$MON($GAP)\d{4}($GAP)$HMS($GAP)$ZONE/Tue,${1}2${2}Mar${3}1999${4}09:44:33${5}+0000/g;
  s/(?<![A-Za-z])[a-z]{3}\.?, \d\d? [a-z\x80-\xff]+\.? \d{4} $HMS $ZONE/dim., 10 f\xE9vr 2019 20:05:49 +0000/g;
  s/^\d{4}-\d\d-\d\d $HMS(?: $ZONE)? /1999-03-02 09:44:33 /;
  s/^\d{4}-\d\d-\d\d $HMS\.\d{3}(?: $ZONE)? /2017-07-30 18:51:05.712 /;
  s/(Logwrite ["'])\d{4}-\d\d-\d\d $HMS/${1}1999-03-02 09:44:33/;
  s/(SYSLOG: '(?:\[\d+[\\\/]\d+\] )?)\d{4}-\d\d-\d\d $HMS(\.\d{3})?( $ZONE)?(?= )/
    $1 . '2017-07-30 18:51:05' . (defined $2 ? '.712' : '') . (defined $3 ? ' +9999' : '')/e;
  s/\b(D|QT|RT|DT)=\d+s\b/$1=qqs/g;
  s/\b(D|QT|RT|DT)=\d\.\d{3}s/$1=q.qqqs/g;
  s/$DAY $MON [ \d]\d $HMS \d{4}/Tue Mar 02 09:44:33 1999/g;
  s/^\d{9,10} 0$/ddddddddd 0/;
  s/\d\d-$MON-\d{4} $HMS $ZONE,/06-Sep-1999 15:52:48 +0100,/;
  s/first failed=(\d+) last try=(\d+) next try=(\d+)/'first failed=dddd last try=dddd next try=+' . ($3 - $2)/e;
  s/$DATE/07-Mar-2000 12:21:52/g;
  s/^(Grand total summary|Exim statistics) from .* to .*/$1 from <time> to <time>/;
}

# ---- names of this machine ----

sub host_and_place {
  my ($self) = @_;
  s/\b\Q$self->{hostname}\E\b/the.local.host.name/g;
  s/name=the\.local\.host address=127\.0\.0\.1/name=localhost address=127.0.0.1/g;
  s/(\s)\Q$self->{dir}\E\/aux-var\/sh\b/$1ENV_SHELL/;
  s/\Q$self->{dir}\E/TESTSUITE/g;
}

sub fixed_wordings {
  my ($self) = @_;
  s/\.lock\.[-\w]+(?:\.[-\w]+)*\.[0-9a-f]{8}\.[0-9a-f]{8}\b/.lock.test.ex.dddddddd.pppppppp/g;
  s/( port \d+) \([^)]*\)/$1/g if /listening for SMTPS? on port/ && !$self->{is_ipv6_case};
  s/TlRMTVNTUAACAAAAAAAAAAAoAAABgg\S*/TlRMTVNTUAACAAAAAAAAAAAoAAABggAAAEbBRwqFwwIAAAAAAAAAAAAt1sgAAAAA/;
  s/prvs=([^\/\s]+)\/[0-9a-f]{10}@/prvs=$1\/xxxxxxxxxx@/g;
  s/prvs=[0-9a-f]{10}=([^@\s]+)@/prvs=xxxxxxxxxx=$1@/g;
  s/is not a base (?:36|62) number/is not a base 36\/62 number/;
  s/forced fail after \d seconds/forced fail after d seconds/;
  s/Failed to open \S+ file(?: \([^)]*\))?(?= .*\/spool\/db\/)/Failed to open hintsdb file/;
  s/:[^:]*(: while opening named pipe)/: Error$1/;
  s/(myhost\.test\.ex|the\.local\.host\.name)-\d+-testing/$1-dddddddd-testing/g;
  s/(writing data block fd=)\d+/$1dddd/;
  s/\b(fd_write|fd_read)=\d+/$1=dddd/g;
  s/(could not connect to .*: Connection )reset by peer$/$1refused/;
}

sub retry_keys {
  my ($self) = @_;
  my %p = %{ $self->{ports} };
  s/^(\s*T:\S+ -22) \S+ /$1 xxxx /;
  s/(T:\S+:)($p{N}|$p{S})(?= )/$1$self->{port_name}{$2}/;
  s/(helo\/ehlo \S+:)($self->{re_port})(?= )/$1$self->{port_name}{$2}/;
  s/(Transport: .*:)($p{S})(?= )/$1PORT_S/;
  s/(set_process_info: .*\]:)($self->{re_port})(?= )/$1$self->{port_name}{$2}/;
}

# ---- TLS names ----

# The key exchange and signature words of a GnuTLS suite name give "RSA", "ECDSA", "PSK" or nothing.
sub suite_auth {
  my ($name) = @_;
  return 'PSK' if $name =~ /PSK/;
  return 'ECDSA' if $name =~ /ECDSA(?!.*RSA)/;
  return 'RSA' if $name =~ /RSA/;
  return '';
}

sub tls_names {
  my ($self) = @_;
  my $cipher = qr/AES[-_]?(?:128|256)(?:[-_](?:GCM|CBC|CCM))?|CHACHA20[-_]POLY1305/;
  s/^(\s+by \S+ with \S+)  \(TLS1(?:\.\d)?\) tls (TLS_\S+).*/
    my ($h, $suite) = ($1, $2);
    my $auth = $suite =~ m{_([A-Z]+)_WITH} ? $1 : 'RSA';
    "$h (TLS1.x:ke-$auth-AES256-SHAnnn:xxx)"/e;
  s/ cipher_ (TLS_\S*)/' cipher_ TLS1.x:ke_' . ($1 =~ m{_([A-Z]+)_WITH} ? $1 : 'RSA') . '_WITH_ci_mac'/e;
  s/(ver:\s+TLS1)(?:\.\d)?(?![.\w])/$1.x/;
  s/ \(TLS1(?:\.\d)?\) / (TLS1.x) /;
  # GnuTLS and OpenSSL reports: version:suite:bits[:group]
  s/\bTLSv?1(?:\.\d)?(?:-PKIX)?:(\S*?CAMELLIA\S*?)[-_]SHA\d*:\d+/TLS1.x:$1-SHAnnn:256/g;
  s/\bTLSv?1(?:\.\d)?(?:-PKIX)?:((?:[A-Z0-9]+[-_]+)*?)(WITH_)?$cipher(?:[-_]+(?:AEAD|SHA\d*))*:\d+(?::[A-Z][\w-]*)?(?![\w-])/
    my ($words, $with) = ($1, $2 || '');
    my $auth = ($words =~ m{^TLS_$}) ? 'RSA' : suite_auth($words);
    "TLS1.x:ke-$auth-${with}AES256-SHAnnn:xxx"/ge;
  s/\bTLSv?1(?:\.\d)?(?=:)/TLS1.x/g;
  s/(?<![\w:-])((?:(?:EC)?DHE|TLS)[-_](?:[A-Z0-9]+[-_]+)*?)$cipher(?:[-_]+(?:AEAD|SHA\d*))*(?![\w:])/
    "ke-" . ($1 =~ m{^TLS_$} ? 'RSA' : suite_auth($1)) . "-AES256-SHAnnn"/ge;
  s/\bRSA-SHA1\b/RSA-SHA/;
  s/(?:No certificate was found|Certificate is required)\./The peer did not send any certificate./;
  s/\(gnutls_priority_set\): No or insufficient priorities were set/(gnutls_handshake): Could not negotiate a supported cipher suite/;
  s/No supported cipher suites have been found\./Could not negotiate a supported cipher suite./;
  s/(\(SSL_\w+\): error:).*/$1 <<detail omitted>>/;
}

# ---- users ----

sub caller_names {
  my ($self) = @_;
  my ($u, $g) = @$self{qw(caller_uid caller_gid)};
  s/\Q$self->{home}\E(?!\w)/CALLER_HOME/g;
  s/\b\Q$self->{caller}\E\b/CALLER/g;
  s/\b\Q$self->{caller_group}\E\b/CALLER/g;
  s/\b(euid|uid)=$u\b/$1=CALLER_UID/g;
  s/\b(egid|gid)=$g\b/$1=CALLER_GID/g;
  s/name="?\Q$self->{gecos}\E"?/name=CALLER_GECOS/ if length $self->{gecos};
  s/^(?:CALLER|spaced user) $u \d+$/CALLER UID GID/;
}

sub exim_names {
  my ($self) = @_;
  my $x = quotemeta $self->{exim_user};
  s/\b(U=|user=|login=|Running as: )$x\b/$1EXIMUSER/;
  s/(Received: from )$x /${1}EXIMUSER /;
  s/\b$x\@/EXIMUSER\@/;
  s/\b$x\.lock\./EXIMUSER.lock./;
  s/\b(euid|uid)=$self->{exim_uid}\b/$1=EXIM_UID/g;
  s/\b(egid|gid)=$self->{exim_gid}\b/$1=EXIM_GID/g;
  s/^$x $self->{exim_uid} $self->{exim_gid}$/EXIMUSER EXIM_UID EXIM_GID/;
}

sub remaining_numbers {
  my ($self, $file) = @_;
  s/\b(e?uid|e?gid)=4294967295\b/$1=-1/g;
  s/\b(e?gid)=\d+/$1=gggg/g;
  s/(\bpid=|\bpid |PID: |\bProcess |\bchild )(\d+)/$1 . 'p' . $self->pid_number($2)/ge;
  s/( Ci=)(\d+)/$1 . 'p' . $self->pid_number($2)/ge;
  s/\b(e?uid)=\d+/$1=uuuu/g;
  s/(test-mail\/(?:[^\/\s]+\/)?temp\.)\d+\./$1pppp./;
  s/^(1999-03-02 09:44:33|2017-07-30 18:51:05\.712) \[(\d+)\]/"$1 [" . $self->tag_number($2) . ']'/e;
  s/(SYSLOG: '2017-07-30 18:51:05(?:\.712)?(?: \+9999)?) \[(\d+)\]/"$1 [" . $self->tag_number($2) . ']'/e;
  if ($file->{kind} eq 'stderr') {
    if (/^(\d+) (?:listening|LOG: MAIN|daemon_smtp_port overridden by|local_interfaces )/) {
      $file->{daemon_pid} = $1;
    }
    s/^$file->{daemon_pid} // if defined $file->{daemon_pid};
  }
  s/(waiting for children of )\d+/$1pppp/;
  s/(waiting for [^()]* \()\d+\)/$1pppp)/;
}

# ---- ports, addresses, networks ----

sub ephemeral_ports {
  my ($self) = @_;
  s/(Port: |\(port=)(\d+)/$1 . $self->port_number($2)/e;
  s/(Connection request from \S+ port )(\d+)/$1 . $self->port_number($2)/e;
  if (defined $self->{port_dynamic}) {
    s/(Connecting to 127\.0\.0\.1 port )$self->{port_dynamic}\b/$1<dynamic port>/;
  }
  if (/^-(?:host|interface)_address /) {
    s/([.:])(\d+)$/$1 . $self->port_number($2)/e;
    s/^(-host_address .*[.:])\d+$/${1}9999/;
    return;
  }
  return if /listening for SMTP on|Connecting to|=>|->|\*>|==|\*\*|Connection refused|in response to|T:|Transport:/;
  s/((?<!I=)|I=(?!\[[^\]]*\]:$self->{re_port_d} ))(\[[0-9a-fA-F.:%]+\]:)(\d+)/$1 . $2 . $self->port_number($3)/e;
}

sub addresses {
  my ($self) = @_;
  my ($v4, $v6) = map { quotemeta } @$self{qw(ipv4 ipv6)};
  my $ip4 = 'ip4.ip4.ip4.ip4';
  my $ip6 = join ':', ('ip6') x 8;
  s/^\s+host (\S+)\s+\[(\S+)\]/  host $1 [$2]/;
  s/^(  host \S+ \[\S+\])\s+(?=MX=)/$1 /;
  s/^  (host \S+ \[\S+\])\s+(?=port=)/  host $1 /; # the word twice: so it stands in the expected files
  s/^(  host \S+ \[\S+\].*?) +(?=port=|MX=)/$1 /;
  s/(?<![\w.])host $v4 \[$v4\]/host ipv4.ipv4.ipv4.ipv4 [ipv4.ipv4.ipv4.ipv4]/;
  s/(?<![\w.])host $v6 \[$v6\]/'host ' . join(':', ('ip6') x 8) . ' [' . join(':', ('ip6') x 8) . ']'/e if length $v6;
  s/(?<![\d.])$v4(?!\d)/$ip4/g;
  s/$v6(?:%\w+)?/$ip6/gi if length $v6;
  s/(?<![\d.])\Q$self->{ipv4_reversed}\E(?!\d)/ip4-reverse/g;
  s/\Q$self->{ipv6_reversed}\E/ip6-reverse/g if length $self->{ipv6_reversed};
  s/^(\s+host \S+ \[\S+\])\s+$/$1/;
  s/(?:\b|(?<=_))224(?=\.\d+\.\d+\.\d+|_|\.rbl|\.in-addr|\.test\.again\.dns)/V4NET/g;
  s/(\d+\.\d+\.\d+\.)224(?=\.in-addr|\.rbl|\.test\.again\.dns)/${1}V4NET/g;
  s/\bff00(?=:[0-9a-f]+:[0-9a-f]+:[0-9a-f]+)/V6NET/gi;
}

sub system_errors {
  my ($self) = @_;
  s/(?:Cannot|Can't) assign requested address|Address not available/Netwk addr not available/;
  s/Operation timed out/Connection timed out/;
  s/Address family not supported by protocol family|Network(?: is)? unreachable|Invalid argument/Network Error/;
  s/\(\d+\): (Network|Connection refused|Connection timed out)/(dd): $1/;
  s/ \d+ 65 Connection refused/ dd 65 Connection refused/;
  s/ \d+ 321 Connection timed out/ dd 321 Connection timed out/;
  s/\berrno=\d+/errno=dd/g;
  s/ is not a regular file| has too many links \(\d+\)/ not a regular file or too many links/;
}

# ---- sizes and other numbers ----

sub sizes {
  my ($self, $kind) = @_;
  # Files come in the order of the directory.
  s{(unspool_mbox\(\): unlinking '.*/)[^/']+'}{$1FFFFFFFFF'} if $kind eq 'stderr';
  s/([ ,])S=\d+/$1S=sss/;
  s/:S\d+/:Ssss/;
  if ($kind eq 'stdout') {
    s/^ *\d+[mhd] +\d+(?:\.\d+)?[KM]? ($AN{6}-$AN+-$AN+ <)/TTT   sss $1/;
  }
  s/ SIZE=\d+/ SIZE=ssss/ if $kind eq 'stdout' || $kind eq 'stderr' || $kind eq 'log';
  s/( size=)\d+/$1sss/ if $kind eq 'stderr';
  s/(old size = )\d+/$1sssss/;
  s/((?:message size|this message|Size of headers) = )\d+/$1sss/;
  if (/\bsum=(?:[1-9]\d*|0)\b/) {
    s/\b(sum=(?:[1-9]\d*|0) count=)\d+/$1dd/;
    s/\bsum=[1-9]\d*/sum=dddd/;
  }
  s/(,S is )\d+/$1ddddd/;
  s/(\+0100,)\d+;/$1ddd;/;
  s/\(\d+ bytes written\)/(ddd bytes written)/;
  s/added '\d+ 1'/added 'ddd 1'/;
  s/\bspace=\d+ inodes=\d+/space=xxxxx inodes=xxxxx/;
  s/^\d+( bytes read from )/ssss$1/;
  s/^(Received|Delivered)(\s+)\d+(?:KB|MB)?(?=\s)/$1$2nnn/;
}

sub maildir_and_rest {
  my ($self, $file) = @_;
  s/(timestamp=)\d+/$1ddddddd/;
  s/(\(timestamp_only\): )\d+/$1ddddddd/;
  s/tmp\/\d+\.[^.\s]+\./tmp\/MAILDIR./;
  s/renamed tmp\/\S+ as new\/\S+/renamed tmp\/MAILDIR as new\/MAILDIR/;
  s/\b\d+\.[HM]\d+P\d+\b/dddddddddd.HddddddPddddd/g;
  if (/^\d+S,\d+C\s*$/) {
    $file->{is_maildirsize} = 1;
  } elsif ($file->{is_maildirsize}) {
    s/^ *-?\d+ +-?\d+\s*$/ddd d/;
  }
  s/SRS0=[^=\s]{4}=[^=\s]{0,2}=([^=]+)=([^@]+)@([^ >,\s]+)/SRS0=ZZZZ=YY=$1=$2\@$3/gi;
  s/max fd = \d+/max fd = dddd/;
  s/status=[0-9A-Fa-f]+ (RDONLY|WRONLY|RDWR)/STATUS/;
  s/^\d{3}(?=[PFS*RTCBI ] )/ddd/ if $file->{is_spool_header} || /^\d{3}[PFS*] /;
  s/\b\d{8,10}-eximdsn-\d+/NNNNNNNNNN-eximdsn-MMMMMMMMMM/;
  s/(unexpected disconnection while reading SMTP command from \S+ \S+.*?) \([^()]*\) (?=D=)/$1 /;
  s/(Cyrus SASL permanent failure: )user not found$/$1generic failure/;
}

# ---- lines of "ls -l" ----

sub listings {
  if (/^[-dlpsbc][-rwxsStT]{9}[.+@]?\s/) {
    s/^(\S{10})[.+@]/$1/;
    s/ +/ /g;
  }
}

# ---- rules of one kind of file ----

my @STDOUT_DROP = (
  qr/translate_ip_address =/, qr/use_classresources/,
  qr/^(?:dmarc_tld_file|arc_sign|limits_advertise_hosts|tls_resumption_hosts|host_name_extract) ?= ?/,
  qr/^-tls_resumption/, qr/^hosts_try_prdr = \*/,
  qr/^_HAVE_(?:DMARC|ESMTP_LIMITS|PIPE_CONNECT)\b/,
  qr/^_OPT_TRANSPORT_SMTP_(?:HOSTS_RE(?:QUEST|QUIRE)_OCSP|DANE_REQUIRE_TLS_CIPHERS)=y/,
  qr/^SSL info:/, qr/^Error in the pull function\./,
);

sub rules_stdout {
  my ($self, $file, $in) = @_;
  for my $re (@STDOUT_DROP) {
    return 0 if /$re/;
  }
  if ($self->{want_rmfiltertest}) {
    return 0 if /^(?:Sender taken from|Return-path copied from|Sender  =|Recipient  =)/;
    if (/^Testing .* filter/) {
      shift @$in;
      return 0;
    }
  }
  my ($re, $name) = @$self{qw(re_port port_name)};
  s/(Listening on port |Connecting to (?:127\.0\.0\.1|ip4\.ip4\.ip4\.ip4|::1|ip6:\S+|\S+) port )($re)/$1$name->{$2}/;
  s/( host \S+ \[\S+\].*? ?port=)($re)/$1$name->{$2}/;
  s/(T:\S*:)($re)/$1$name->{$2}/;
  s/(\bport = )($re)/$1$name->{$2}/;
  s/(127\.0\.0\.1::)($re)/$1$name->{$2}/;
  s/(\S+\.EHLO.*?:)($re)/$1$name->{$2}/;
  s/Connection request from \[[0-9a-f:]*:[0-9a-f:]*\]/Connection request from [ipv6]/i;
  s/Failed to open (?:hintsdb|database lock|hintsdb lock|lock)? ?file (\S+\/spool\/db\/[^\s.:]+)(?:\.lockfile)?(?: for reading)?: No such file or directory/Failed to open hintsdb file $1: No such file or directory/;
  s/(-received_time_usec \.)\d{6}/$1uuuuuu/;
  s/(-received_time_complete )\d+\.\d{6}/$1tttt.uuuuuu/;
  s/(\breceived )\d{10}$/${1}1692480217/;
  s/(T:.* \(MTA-imposed quota exceeded while writing to ).*/$1 <elided>)/ if /^\s*T:/;
  s/^\s*\d+[mhd]( +317 \S+ <nobody\@test\.ex>)/DDd$1/;
  s/^ [01]m +[34]\d\d (\S+ <CALLER\@the\.local\.host\.name>)/ 1m    396 $1/;
  s/(250-AUTH ANONYMOUS PLAIN SCRAM-SHA-1) SCRAM-SHA-256/$1/;
  s/(conversion  )stra\S*e\.de/$1xn--strae-oqa.de/;
  return $self->drop_diagnostic($in);
}

# "X-Exim-Diagnostic:" with its continuation lines; always true, or 0 to drop.
sub drop_diagnostic {
  my ($self, $in) = @_;
  return 1 unless /^X-Exim-Diagnostic:/;
  shift @$in while @$in && $in->[0] =~ /^\s+\S/;
  return 0;
}

# Debug and trace lines that depend on the libraries or the features built in.
my @STDERR_DROP = (
  qr/host in tls_advertise_hosts\?$/, qr/in tls_advertise_hosts\? no \((?:option unset|end of list)\)/,
  qr/in hosts_require_tls\? no \((?:option unset|end of list)\)/,
  qr/auxiliary group list:/, qr/extracted from gecos field/, qr/changing group to \S+ failed: /,
  qr/^macros_trusted overridden to true by whitelisting/,
  qr/using host_fake_gethostbyname for \S+ \(IPv6\)/,
  qr/ in keep_environment\? (?:yes|no)/, qr/in wellknown_advertise_hosts\?/, qr/host in hosts_proxy\?/,
  qr/in (?:pipelining_connect_advertise_hosts|hosts_pipe_connect)\? no /,
  qr/in smtputf8_advertise_hosts\? no \(option unset\)/,
  qr/in hosts_(?:xclient|wellknown)\? no \(option unset\)/,
  qr/in hosts_require_dane\? no \(option unset\)/, qr/in tls_resumption_hosts\?/,
  qr/DKIM: no signatures/, qr/acl_smtp_dkim/, qr/acl_(?:not_)?smtp_mime/, qr/\bdscp\b/, qr/socks_proxy/,
  qr/dmarc_tld_file/, qr/spf_smtp_comment_template/, qr/trying? option/, qr/listen backlog/,
  qr/Listening\.\.\./,
  qr/^(?:Compiler:|Library version:|Support for:|Lookups \(|Lookups:|Authenticators:|Authenticators \(|Routers:|Routers \(|Transports:|Transports \(|Malware:|Size of off_t:|Fixed never_users|Configure owner|Berkeley DB|Probably |log selectors =|cwd=)/,
);

# Question lines whose list elements below go too.
my @STDERR_DROP_WITH_ELEMENTS = (
  qr/in dns_ipv4_lookup\?/, qr/hosts_requ(?:est|ire)_ocsp\?/, qr/in limits_advertise_hosts\?/,
  qr/host in pipelining_connect_advertise_hosts\?$/, qr/in hosts_try_fastopen\?/,
);

sub rules_stderr {
  my ($self, $file, $in, $out) = @_;
  return 0 if /name=localhost address=::1/;
  if (/ \(AAAA\)/ && /DNS lookup of|looked up|fakens/) {
    shift @$in if @$in && $in->[0] =~ /gave NO_DATA/ && shift(@$in);
    return 0;
  }
  for my $re (@STDERR_DROP_WITH_ELEMENTS) {
    next unless /$re/;
    shift @$in while @$in && $in->[0] =~ /^>*\s*(?:\xE2\x95\x8E)*\s*list element: ?[!*]*\s*$/;
    return 0;
  }
  for my $re (@STDERR_DROP) {
    return 0 if /$re/;
  }
  s/^Exim version .*/Exim version x.yz ..../;
  s/^(\d{4,}) (?!previous message|in |bytes remain in|SMTP accept process running)/'p' . $self->pid_number($1) . ' '/e;
  s/(connection_id: )(\S+)/$1 . $self->conn_name($2)/e;
  push @$out, 'MUNGED: ::1 will be omitted in what follows' if /looked up these IP addresses/;
  my ($re, $name) = @$self{qw(re_port port_name)};
  s/((?:\[[^\]]*\]|V4NET\.0\.0\.0|localhost|127\.0\.0\.1):)($re)/$1$name->{$2}/g;
  s/(127\.0\.0\.1[.:])($re)/$1$name->{$2}/g;
  s/(\bport[ =])($re)/$1$name->{$2}/g;
  s/(<[;:] \S*?)($re)/$1$name->{$2}/g;
  s/^$HMS(?:\.\d{3})? +(?:(\d+) )?/defined $1 ? '01:01:01 p' . $self->pid_number($1) . ' ' : '01:01:01 '/e;
  s/(\b[Pp]rocess )(\d+) /$1 . 'p' . $self->pid_number($2) . ' '/e;
  s/\d(?=TESTSUITE\/aux-fixed\/)/0/;
  s/ PATH=\S+/ PATH=<munged>/;
  return 1;
}

sub rules_log {
  my ($self, $file, $in) = @_;
  return 0 if / Berkeley DB error: /;
  return 0 if /<dns:fail> <DNS_[^>]*:AAAA>$/;
  my ($re, $re_d, $name) = @$self{qw(re_port re_port_d port_name)};
  my $s = $self->{ports}{S};
  if (/listening for SMTPS? on|listening on|\bfor SMTPS? on/) {
    s/(\bport )($re)/$1$name->{$2}/g;
    s/(\]:)($re)/$1$name->{$2}/g;
  }
  s/( I=\[[^\]]*\]:)($re_d)(?= )/$1$name->{$2}/;
  s/((?:\[127\.0\.0\.1\]|\[ip4\.ip4\.ip4\.ip4\]|\[[^\]]*\]):)($re)(?= Connection refused)/$1$name->{$2}/;
  s/((?:=>|->|==) .*?\[[^\]]*\]:)($re_d)/$1$name->{$2}/;
  s/(\]:)$s\b/$1PORT_S/g;
  s/(port <)$s\b/$1PORT_S/;
  s/(\bplp )($re_d)/$1$name->{$2}/;
  s/(received_port\}\{)($re_d)/$1$name->{$2}/;
  s/( I=\[[^\]]*\]:)(\d{4,5})(?!\d)/$1 . ($self->{local_port} \/\/= $self->port_number("I=$2"))/ge;
  s/((?:=>|->) .* K .*C="250- )\d+ byte chunk, total \d+/${1}3nn byte chunk, total 3nn/;
  s/ t=(\d+) x=(\d+) /' t=T x=T+' . ($2 - $1) . ' '/e if /DKIM/;
  s/ t=\d+ \[/ t=T [/ if /DKIM/;
  s/( bits: )256\b/${1}253/;
  s/(public key too short: )256 bits/${1}253 bits/;
  s/(R=\S+ T=\S+ defer \()[1-9]\d*\)/$1EEE)/;
  s/Arg list too long/Argument list too long/;
  return $self->log_tls_errors($in);
}

sub log_tls_errors {
  my ($self, $in) = @_;
  s/\((?:gnutls_handshake|SSL_connect)\): timed out/(tls lib connect fn): timed out/;
  s/\((?:SSL_accept|gnutls_accept)\): timed out/(tls lib accept fn): timed out/;
  if (/TLS error on connection from/) {
    s/\(tls lib connect fn\): timed out/(tls lib accept fn): timed out/;
    s/\((?:gnutls_handshake|SSL_accept)\): (?:The TLS connection was non-properly terminated\.|TCP connection closed by peer)/(tls lib accept fn): TCP connection closed by peer/;
  }
  s/\((?:gnutls_handshake|SSL_connect)\): (?:No common application protocol could be negotiated|No ALPN.*)\.?/(tls lib connect): error: <<ALPN>>/i;
  s/(failed to import ARC key: ).*|error:[0-9A-F]+:DECODER routines::unsupported/defined $1 ? "${1}error:1E08010C:DECODER routines::unsupported" : 'error:1E08010C:DECODER routines::unsupported'/e;
  if (/\(recv\): .*(?:Decode error|did not send any certificate|Certificate is required)/ && @$in && $in->[0] =~ /TLS session: error on first read/) {
    $in->[0] =~ s/TLS session: error on first read:?/TLS session: (gnutls_handshake): A TLS fatal alert has been received.:/;
    return 0;
  }
  return 1;
}

sub rules_mail {
  my ($self, $file, $in) = @_;
  my ($re, $name) = @$self{qw(re_port port_name)};
  s/((?:interface|received)-port: )($re)/$1$name->{$2}/;
  if (s/^(\s+)t=(\d+);(?: x=(\d+);)? b=\S+/"$1t=T;" . (defined $3 ? ' x=T+' . ($3 - $2) . ';' : '') . ' b=bbbb;'/e) {
    splice @$in, 0, 2;
  }
  return $self->drop_diagnostic($in);
}

my %RULES = (stdout => \&rules_stdout, stderr => \&rules_stderr, log => \&rules_log, mail => \&rules_mail);

# ---- rules a case asks for by name ----

my $TLS_OPTION = qr/^(?:dkim_\w+|tls_\w+|hosts_\w+_(?:dane|ocsp|tls)|hosts_require_\w+|socks_proxy|utf8_downconvert|hosts_pipe_connect|pipelining_connect_advertise_hosts|gnutls_require_\w+|dane_require_tls_ciphers)\b|^no_(?:dkim|tls|hosts)_\w+/;

my %CUSTOM = (
  loopback => { stdout => sub { s/\[(?:127\.0\.0\.1|::1)\]/[IP_LOOPBACK_ADDR]/; 1 } },
  sync_check_data => {
    log => sub { s/(SMTP protocol synchronization error .* next input=.{8}).*/$1<suppressed>/; 1 },
  },
  optional_dsn_info => {
    mail => sub {
      my ($in) = @_;
      return 1 unless /^(?:X-Remote-MTA-(?:smtp-greeting|helo-response)|X-Exim-Diagnostic|X-(?:body|message)-linecount|Remote-MTA: X-ip;)/;
      shift @$in while @$in && $in->[0] =~ /^\s+\S/;
      return 0;
    },
  },
  scanfile_size => { stdout => sub { s/(Content-length:) \d\d\d/$1 ddd/; 1 } },
  timeout_errno => { log => sub { s/((?:host|message) deferral .* errno )<\d+> /$1<EEE> /; 1 } },
  optional_config => { stdout => sub { !/$TLS_OPTION/ } },
  gnutls_unexpected => {
    log => sub { s/(?:A TLS packet with unexpected length was received|The TLS connection was non-properly terminated)\./A TLS packet with unexpected length was received./; 1 },
  },
  gnutls_handshake => {
    log => sub { s/\(gnutls_handshake\): .*/(gnutls_handshake): A TLS packet with unexpected length was received./ if /unexpected length|non-properly/; 1 },
  },
  gnutls_bad_clientcert => {
    stdout => sub {
      my ($in) = @_;
      return 1 unless /^Succeeded in starting TLS/;
      $_ = 'A TLS fatal alert has been received.';
      unshift @$in, 'Failed to start TLS';
      return 1;
    },
  },
  delay_1500 => { stderr => sub { s/\b(?:1[5-9]|23)\d\d msec/ssss msec/; 1 } },
);

sub apply_custom {
  my ($self, $kind, $in) = @_;
  my $rules = $CUSTOM{ $self->{custom} // '' } or return 1;
  my $rule = $rules->{$kind} or return 1;
  return $rule->($in);
}

# ---- the whole ----

# The kind of a file, by its path relative to the test directory.
sub kind_of {
  my ($path) = @_;
  for my $kind (qw(stdout stderr log mail)) {
    return $kind if $path =~ /$kind/;
  }
  return 'stdout';
}

# Normalises one line in $_. Returns 0 when it is to be left out. $in holds the lines after it,
# $out the lines before.
sub munge_line {
  my ($self, $file, $in, $out) = @_;
  my $kind = $file->{kind};
  return 0 unless $self->apply_custom($kind, $in);
  $self->host_and_place();
  $_ = $self->map_ids($_);
  $self->fixed_wordings();
  my $times = retry_times($_);
  if (defined $times) {
    $_ = $times;
    return 1;
  }
  $self->retry_keys();
  $self->dates();
  $self->tls_names();
  $self->caller_names();
  $self->exim_names();
  $self->remaining_numbers($file);
  return 0 if /^(?:calling local_scan\(\); timeout=300|local_scan\(\) returned 0 NULL)$/;
  $self->ephemeral_ports();
  $self->addresses();
  $self->system_errors();
  listings();
  $self->sizes($kind);
  $self->maildir_and_rest($file);
  return $RULES{$kind}->($self, $file, $in, $out);
}

# Sorts each long run of directory size lines of a trace, whose order is the file system's.
sub sort_directory_sizes {
  my ($lines) = @_;
  my $is_size = qr/check_dir_size:|skipping TESTSUITE\/test-mail\//;
  my @out;
  while (@$lines) {
    if ($lines->[0] !~ $is_size) {
      push @out, shift @$lines;
      next;
    }
    my @run;
    push @run, shift @$lines while @$lines && $lines->[0] =~ $is_size;
    push @out, 'MUNGED: the check_dir_size lines have been sorted to ensure consistency', sort @run;
  }
  return \@out;
}

sub munge_unchanged_case {
  my ($text) = @_;
  $text =~ s{(localhost \d+ from message-id != given number \d+ at )\S+(/test/eximdir/exim_msgdate line)}{$1DIR$2}g;
  return $text;
}

# Normalises the contents of one file. $path is relative to the test directory and decides the kind.
# Returns text whose lines all end with a newline.
sub munge_text {
  my ($self, $path, $text) = @_;
  return '' if !defined $text || $text eq '';
  return munge_unchanged_case($text) if $self->{no_munge};
  my $file = { kind => kind_of($path) };
  my @in = split /\n/, $text, -1;
  pop @in if @in && $in[-1] eq '';
  my @out;
  while (@in) {
    local $_ = shift @in;
    push @out, $_ if $self->munge_line($file, \@in, \@out);
  }
  my $lines = $file->{kind} eq 'stderr' ? sort_directory_sizes(\@out) : \@out;
  return join '', map { "$_\n" } @$lines;
}

# The name under which a file below test-mail is compared.
sub mail_name {
  my ($self, $path) = @_;
  $path =~ s{^\Q$self->{caller}\E(?:/|$)}{CALLER};
  $path =~ s{(^|/)\d+\.[^./]+\.(?=[^/]*$)}{$1 . $self->{maildir_next}++ . '.'}e;
  return $path;
}

1;

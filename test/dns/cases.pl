# SPDX-License-Identifier: GPL-2.0-or-later
#
# The lies of hostile-ns and what a lookup must make of them.  Packets are put together byte by byte (RFC 1035).
# Each case is NAME => {types => [...] or nothing for all, want => sub(type) or text, packet => sub(question, type)}.
# want: the text found; NF not found; DEFER; ANY anything but a crash.
use strict;
use warnings;

our %code = (a => 1, ns => 2, cname => 5, soa => 6, ptr => 12, mx => 15, txt => 16, aaaa => 28, srv => 33, tlsa => 52, spf => 99);
our @types = sort keys %code;
our %has_name = map { $_ => 1 } qw(ns cname soa ptr mx srv);
our %least = (a => 4, aaaa => 16, mx => 3, srv => 7, soa => 22, tlsa => 3, ns => 1, ptr => 1, cname => 1, txt => 1, spf => 1);

sub name { my ($text) = @_; return join('', map { pack 'C/a*', $_ } split /\./, $text) . "\0" }

# The data of a record: its target is the wire name given.
sub data {
  my ($type, $target) = @_;
  $target //= name('t.ex');
  return pack('C4', 192, 0, 2, 9) if $type eq 'a';
  return pack('n8', 0x2001, 0xdb8, 0, 0, 0, 0, 0, 9) if $type eq 'aaaa';
  return pack('n', 10) . $target if $type eq 'mx';
  return pack('n3', 1, 2, 3) . $target if $type eq 'srv';
  return $target . name('r.ex') . pack('N5', 1, 2, 3, 4, 5) if $type eq 'soa';
  return pack('C3', 3, 1, 1) . "\xab\xcd" if $type eq 'tlsa';
  return pack('C/a*', 'hello') if $type eq 'txt' || $type eq 'spf';
  return $target;
}
# What such a record is shown as.
sub shown {
  my ($type, $target) = @_;
  $target //= 't.ex';
  return {a => '192.0.2.9', aaaa => '2001:db8::9', mx => "10 $target", srv => "1 2 3 $target", tlsa => '3 1 1 abcd', txt => 'hello',
          spf => 'hello'}->{$type} // $target;
}

sub rr { my ($owner, $type, $data, %o) = @_; return $owner . pack('nnNn', $o{code} // $code{$type}, $o{class} // 1, $o{ttl} // 60, $o{rdlen} // length $data) . $data }
our $q = "\xc0\x0c"; # a pointer to the question

# A whole message.  o: flags, counts (qd, an, ns), authority.
sub message {
  my ($query, $answers, %o) = @_;
  my ($id, undef) = unpack 'nn', $query;
  my $question = question_of($query);
  my $n = defined $o{an} ? $o{an} : scalar @$answers;
  return pack('n6', $o{id} // $id, 0x8180 | ($o{flags} // 0) | ($o{rcode} // 0), $o{qd} // 1, $n, $o{authority} ? 1 : 0, 0)
    . ($o{question} // $question) . join('', @$answers) . ($o{authority} // '');
}
sub question_of { my ($query) = @_; my $end = index($query, "\0", 12); return substr $query, 12, $end - 12 + 5 }
sub labels { my ($query) = @_; my ($i, @l) = (12); while (my $n = ord substr $query, $i, 1) { push @l, substr $query, $i + 1, $n; $i += $n + 1 } return @l }

my $soa = sub { rr(name('h.ex'), 'soa', name('m.ex') . name('r.ex') . pack('N5', 1, 2, 3, 4, 30)) };
my $good = sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))]) };
# A bad record in front of a good one: only the good one counts.
my $skipped = sub {
  my ($bad) = @_;
  return sub { my ($query, $t) = @_; message($query, [$bad->($t), rr($q, $t, data($t))]) };
};
my $only_good = sub { my ($t) = @_; shown($t) };
my $to = sub { # a CNAME alone, to the wire name given
  my ($target) = @_;
  return sub { my ($query, $t) = @_; message($query, [rr($q, 'cname', ref $target ? $target->($t) : $target)]) };
};
my @followers = grep { $_ ne 'cname' } @types; # for these a CNAME is followed
my @named = sort keys %has_name;

our %case = (
  good => {want => $only_good, packet => $good},
  nx => {want => 'NF', packet => sub { message($_[0], [], rcode => 3, authority => $soa->()) }},
  nodata => {want => 'NF', packet => sub { message($_[0], [], authority => $soa->()) }},
  bare => {want => 'NF', packet => sub { message($_[0], []) }},
  # SRV (and every other type) meeting a CNAME: the target with 0, 1, 2, many labels, without and with the target's records
  cnroot => {types => \@followers, want => 'NF', packet => $to->("\0")},
  cnone => {types => \@followers, want => 'NF', packet => $to->(name('x'))},
  cntwo => {types => \@followers, want => 'NF', packet => $to->(name('x.y'))},
  cnmany => {types => \@followers, want => 'NF', packet => $to->(name('a.b.c.d.e.f.g.h.i.j.k'))},
  cnlong => {types => \@followers, want => 'NF', packet => $to->(name(join '.', ('l' x 62) x 4))},
  (map { my ($n, $target) = @$_; ("cn$n" . 'with' => {types => \@followers, want => $only_good,
     packet => sub { my ($query, $t) = @_; message($query, [rr($q, 'cname', name($target)), rr(name($target), $t, data($t))]) }}) }
     ['one', 'x'], ['two', 'x.y'], ['many', 'a.b.c.d.e.f.g']),
  cngood => {types => \@followers, want => $only_good, packet => $to->(sub { name("good.$_[0].h.ex") })},
  cnnx => {types => \@followers, want => 'NF', packet => $to->(sub { name("nx.$_[0].h.ex") })},
  cnfail => {types => \@followers, want => 'DEFER', packet => $to->(sub { name("rcode2.$_[0].h.ex") })},
  cnself => {types => \@followers, want => 'DEFER', log => 'CNAME loop', packet => sub { my ($query) = @_; message($query, [rr($q, 'cname', $q)]) }},
  cnloop => {types => \@followers, want => 'DEFER', log => 'CNAME loop', packet => sub { my ($query) = @_;
     message($query, [rr($q, 'cname', name('l.ex')), rr(name('l.ex'), 'cname', $q)]) }},
  cnthree => {types => \@followers, want => $only_good, packet => sub { my ($query, $t) = @_;
     message($query, [rr($q, 'cname', name('c1.ex')), rr(name('c1.ex'), 'cname', name('c2.ex')), rr(name('c2.ex'), 'cname', name('c3.ex')),
                      rr(name('c3.ex'), $t, data($t))]) }},
  cnstep => {types => \@followers, want => 'DEFER', log => 'CNAME loop', packet => $to->(sub { name("cngood.$_[0].h.ex") })},
  cnlabel => {types => \@followers, want => 'NF', packet => $to->("\x40" . 'l' x 64 . "\0")},
  # lengths
  (map { my $n = $_; ("rdlen$n" => {types => [grep { $least{$_} > $n } @types], want => 'NF',
     packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, substr(data($t), 0, $n))]) }}) } 0 .. 21),
  (map { my ($n, $over) = @$_; ("past$n" => {want => 'DEFER',
     packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t), rdlen => length(data($t)) + $over)]) }}) } [1, 1], [2, 60000]),
  longer => {types => [qw(a aaaa)], want => 'NF', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t) . 'x')]) }},
  shortnext => {types => [qw(mx srv)], want => $only_good, packet => $skipped->(sub { my ($t) = @_; rr($q, $t, substr data($t), 0, $t eq 'mx' ? 2 : 6) })},
  ancount => {want => $only_good, packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))], an => 65535) }},
  anzero => {want => 'NF', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))], an => 0) }},
  # names
  (map { my ($n, $bytes) = @$_; ("ptr$n" => {types => \@named, want => $only_good,
     packet => $skipped->(sub { my ($t) = @_; rr($q, $t, data($t, $bytes)) })}) }
     ['forward', "\xff\x00"], ['beyond', "\xff\xff"], ['label40', "\x41a\0"], ['label80', "\x81a\0"], ['open', "\x3fabc"]),
  ptrself => {types => \@named, want => $only_good, packet => sub { my ($query, $t) = @_;
     my $at = 12 + length(question_of($query)) + 12 + length(data($t, '')) - ($t eq 'soa' ? 5 * 4 + length name('r.ex') : 0);
     message($query, [rr($q, $t, data($t, pack 'n', 0xc000 | $at)), rr($q, $t, data($t))]) }},
  ptrheader => {types => \@named, want => 'ANY', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t, "\xc0\x00"))]) }},
  owner => {want => $only_good, packet => $skipped->(sub { my ($t) = @_; rr(name('other.ex'), $t, data($t)) })},
  owneronly => {want => 'NF', packet => sub { my ($query, $t) = @_; message($query, [rr(name('other.ex'), $t, data($t))]) }},
  ownerloop => {want => 'ANY', packet => sub { my ($query, $t) = @_; my $at = 12 + length question_of($query); message($query, [rr(pack('n', 0xc000 | $at), $t, data($t))]) }},
  classch => {want => 'NF', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t), class => 3)]) }},
  othertype => {types => [grep { $_ ne 'tlsa' } @types], want => 'NF', packet => sub { my ($query, $t) = @_; message($query, [rr($q, 'tlsa', data('tlsa'))]) }},
  mixed => {want => $only_good, packet => sub { my ($query, $t) = @_;
     message($query, [rr($q, $t, "\0" x 11, code => 41, class => 4096), rr($q, $t, "\0" x 30, code => 46), rr($q, $t, data($t))]) }},
  twice => {want => sub { shown($_[0]) . '/' . shown($_[0]) }, packet => sub { my ($query, $t) = @_; message($query, [(rr($q, $t, data($t))) x 2]) }},
  (map { my ($n, $ttl) = @$_; ("ttl$n" => {want => $only_good, packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t), ttl => $ttl)]) }}) }
     ['zero', 0], ['max', 0x7fffffff], ['huge', 0xffffffff]),
  (map { my ($n, $bytes, $text) = @$_; ("odd$n" => {types => \@named, want => sub { shown($_[0], $text) },
     packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t, pack('C/a*', $bytes) . name('ex')))]) }}) }
     ['nul', "a\0b", 'a\\000b.ex'], ['lf', "a\nb", 'a\\010b.ex'], ['dollar', '${lc:X}', '\\${lc:X}.ex'], ['back', 'a\\b', 'a\\\\b.ex'],
     ['space', 'a b', 'a\\032b.ex'], ['high', "a\xffb", 'a\\255b.ex'], ['dot', 'a.b', 'a\\.b.ex']),
  # texts, certificates
  txtclip => {types => [qw(txt spf)], want => 'abc', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, "\x40abc")]) }},
  txtempty => {types => [qw(txt spf)], want => 'NF', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, "\0")]) }},
  txtmany => {types => ['spf'], want => 'x' x 65, packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, "\x01x" x 65)]) }},
  txtfirst => {types => ['txt'], want => 'x', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, "\x01x\x01y")]) }},
  txtnul => {types => [qw(txt spf)], want => 'a', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, "\x03a\0b")]) }},
  tlsathree => {types => ['tlsa'], want => '3 1 1 ', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, pack 'C3', 3, 1, 1)]) }},
  tlsahuge => {types => ['tlsa'], want => 'ANY', tcp => 1, packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, pack('C3', 3, 1, 1) . 'x' x 60000)]) }},
  rootname => {types => \@named, want => sub { shown($_[0], '') || 'NF' }, packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t, "\0"))]) }},
  # answers that are none
  (map { my $n = $_; ("rcode$n" => {types => $n == 3 || $n == 2 ? undef : ['srv', 'a'], want => $n == 3 ? 'NF' : 'DEFER',
     packet => sub { message($_[0], [], rcode => $n) }}) } 1 .. 15),
  nxdata => {want => 'NF', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))], rcode => 3) }},
  soacut => {want => 'DEFER', packet => sub { my ($query, $t) = @_; message($query, [], authority => substr($soa->(), 0, -12) ) }},
  # the transport
  wrongid => {types => ['srv', 'a'], want => $only_good, packet => sub { my ($query, $t) = @_;
     (message($query, [rr($q, $t, data($t, name('evil.ex')))], id => 1 + unpack('n', $query) & 0xffff), $good->($query, $t)) }},
  wrongq => {types => ['srv', 'a'], want => $only_good, packet => sub { my ($query, $t) = @_;
     (message($query, [rr($q, $t, data($t, name('evil.ex')))], question => name('evil.ex') . pack('nn', $code{$t}, 1)), $good->($query, $t)) }},
  qdzero => {types => ['srv'], want => 'DEFER', packet => sub { my ($query, $t) = @_; message($query, [rr(name('x.ex'), $t, data($t))], qd => 0, question => '') }},
  qdtwo => {types => ['srv'], want => 'ANY', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))], qd => 2) }},
  qdmany => {types => ['srv'], want => 'ANY', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))], qd => 65535) }},
  tcgood => {types => ['srv', 'a'], tcp => 1, want => $only_good, packet => $good},
  tcclosed => {types => ['srv', 'a'], tcp => 1, want => 'DEFER', packet => sub { () }},
  tczero => {types => ['srv'], tcp => 1, raw => 1, want => 'DEFER', packet => sub { "\0\0" }},
  tcshort => {types => ['srv'], tcp => 1, raw => 1, want => 'DEFER', packet => sub { "\x10\x00abc" }},
  tcagain => {types => ['srv'], tcp => 1, want => 'DEFER', packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))], flags => 0x200) }},
  many => {types => ['srv', 'a'], tcp => 1, want => sub { join '/', (shown($_[0])) x 200 }, packet => sub { my ($query, $t) = @_; message($query, [(rr($q, $t, data($t))) x 200]) }},
  (map { my ($n, $flags) = @$_; ("bits$n" => {types => ['srv', 'a'], want => $only_good, packet => sub { my ($query, $t) = @_; message($query, [rr($q, $t, data($t))], flags => $flags) }}) }
     ['ad', 0x20], ['aa', 0x400], ['both', 0x420]),
  silent => {types => ['srv'], want => 'DEFER', packet => sub { () }},
);
# Cut at every byte behind the question: a message that says it has a record and does not have all of it is no answer.
for my $cut (0 .. 70) {
  $case{"cut$cut"} = {types => ['srv', 'mx', 'soa', 'txt', 'a'], want => sub { my ($t) = @_; $cut < length rr($q, $t, data($t)) ? 'DEFER' : shown($t) },
    packet => sub { my ($query, $t) = @_; my $m = message($query, [rr($q, $t, data($t))]); my $n = 12 + length(question_of($query)) + $cut; $n < length $m ? substr($m, 0, $n) : $m }};
}

# hostile-ns: the datagrams, or the bytes of a TCP answer.
sub answers {
  my ($query, $transport) = @_;
  my ($which, $type, @rest) = map { lc } labels($query);
  my $c = @rest == 2 && "@rest" eq 'h ex' ? $case{$which} : undef;
  return map { $transport eq 'tcp' ? pack('n/a*', $_) : $_ } message($query, [], rcode => 3) unless $c && $code{$type // ''};
  return message($query, [], flags => 0x200) if $c->{tcp} && $transport eq 'udp';
  my @m = $c->{packet}->($query, $type);
  return map { $transport eq 'udp' || $c->{raw} ? $_ : pack('n/a*', $_) } @m;
}
1;

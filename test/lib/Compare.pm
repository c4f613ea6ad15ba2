# SPDX-License-Identifier: GPL-2.0-or-later
#
# Compare.pm - compares what a case produced with what it should have.
#
# The order of the files matters, because the normaliser numbers ids, pids and
# ports by first appearance: panic log, reject log, main log, stdout, stderr,
# the mailboxes, the message logs. Logs and outputs may have a second part, from
# the daemon of the case ("SERVER"). Runs inside the sandbox, in the test directory.

package Compare;

use strict;
use warnings;
use Sandbox ();

my $SERVER_LINE = "\n******** SERVER ********\n";
my $SORTED_NOTE = "**NOTE: The delivery lines in this file have been sorted.\n";
my $TRUNCATED = '*** truncated ***';

# $o: suite, number, munge (a Munge), flags (of the script), want_stderr
sub new {
  my ($class, %o) = @_;
  return bless { %o, problems => [], diff => '' }, $class;
}

# Returns (list of problems in words, the differences as text).
sub run {
  my ($self) = @_;
  my ($n, $f) = @$self{qw(number flags)};
  $self->two_parts("paniclog/$n", 'spool/log/paniclog', 'spool/log/serverpaniclog');
  $self->two_parts("rejectlog/$n", 'spool/log/rejectlog', 'spool/log/serverrejectlog');
  $self->two_parts("log/$n", 'spool/log/mainlog', 'spool/log/servermainlog', $f->{sortlog});
  $self->two_parts("stdout/$n", 'test-stdout', 'test-stdout-server') unless $f->{no_stdout_check};
  $self->two_parts("stderr/$n", 'test-stderr', 'test-stderr-server')
    unless $f->{no_stderr_check} || !$self->{want_stderr};
  $self->mailboxes() unless $f->{no_message_check};
  $self->message_logs() unless $f->{no_msglog_check};
  return ($self->{problems}, $self->{diff});
}

sub munged {
  my ($self, $path) = @_;
  return $self->{munge}->munge_text($path, Sandbox::slurp($path));
}

sub two_parts {
  my ($self, $expected, $main, $server, $want_sorted) = @_;
  my $got = $self->munged($main);
  $got = sort_deliveries($got) if $want_sorted;
  $got .= $SERVER_LINE . $self->munged($server) if -e $server;
  my $want = Sandbox::slurp("$self->{suite}/$expected");
  if (!defined $want) {
    my $rest = $got;
    $rest =~ s/^\Q$SERVER_LINE\E//;
    $want = '';
    $got = '' if $rest eq '';
  }
  $self->compare($expected, $want, $got);
}

# Each run of delivery lines, sorted: the order of parallel deliveries is nobody's.
sub sort_deliveries {
  my ($text) = @_;
  my $is_delivery = qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})? \S{23} (?:->|=>|\*>)/;
  my (@out, @run);
  for my $line (split /^/, $text) {
    if ($line =~ $is_delivery) {
      push @run, $line;
      next;
    }
    push @out, sort(@run), $line;
    @run = ();
  }
  return join '', $SORTED_NOTE, @out, sort @run;
}

# Where a long text was cut differs with the length of the paths in it: drops the lines
# before the cut that the expected text does not have.
sub align_truncation {
  my ($want, $got) = @_;
  my @want = split /^/, $want;
  my @got = split /^/, $got;
  my ($w) = grep { $want[$_] =~ /\Q$TRUNCATED\E/ } 0 .. $#want;
  my ($g) = grep { $got[$_] =~ /\Q$TRUNCATED\E/ } 0 .. $#got;
  return $got unless defined $w && defined $g && $w > 0;
  my $anchor = $want[$w - 1];
  my $from = $g - 1;
  $from-- while $from >= 0 && $got[$from] ne $anchor;
  return $got if $from < 0;
  splice @got, $from + 1, $g - $from - 1;
  return join '', @got;
}

sub compare {
  my ($self, $name, $want, $got) = @_;
  $want .= "\n" if length $want && $want !~ /\n\z/;
  $got .= "\n" if length $got && $got !~ /\n\z/;
  return if $want eq $got;
  if (index($got, $TRUNCATED) >= 0) {
    $got = align_truncation($want, $got);
    return if $want eq $got;
  }
  push @{ $self->{problems} }, $name;
  $self->{diff} .= difference($name, $want, $got);
}

sub difference {
  my ($name, $want, $got) = @_;
  my %file = (want => 'test-wanted', got => 'test-produced'); # here: process ids of cases that run at the same time are alike
  Sandbox::spew($file{want}, $want);
  Sandbox::spew($file{got}, $got);
  open my $f, '-|', 'diff', '-a', '-u', '--label', "expected $name", '--label', "produced $name", $file{want}, $file{got}
    or return "$name differs\n";
  binmode $f;
  local $/;
  my $text = <$f>;
  close $f;
  unlink values %file;
  return $text;
}

# ---- mail ----

# Maildir names by time, all others bytewise.
sub by_time_then_name {
  my ($a_sec, $a_usec) = $a =~ /^(\d+)\.[HM](\d+)/;
  my ($b_sec, $b_usec) = $b =~ /^(\d+)\.[HM](\d+)/;
  return $a cmp $b unless defined $a_sec && defined $b_sec;
  return $a_sec <=> $b_sec || $a_usec <=> $b_usec || $a cmp $b;
}

sub files_below {
  my ($top, $prefix) = @_;
  my @found;
  opendir my $d, $top or return ();
  for my $name (sort by_time_then_name grep { !/^\.\.?$/ } readdir $d) {
    my $path = "$top/$name";
    if (-d $path && !-l $path) {
      push @found, files_below($path, "$prefix$name/");
    } elsif ($prefix ne '' || $name !~ /^oncelog(?:\.(?:dir|pag|db))?$/) {
      push @found, "$prefix$name";
    }
  }
  return @found;
}

# The expected files of a kind: path below <kind>/NNNN. => 1
sub expected_names {
  my ($self, $kind) = @_;
  my %names;
  my $top = "$self->{suite}/$kind";
  opendir my $d, $top or return \%names;
  for my $name (grep { /^\Q$self->{number}\E\./ } readdir $d) {
    if (-d "$top/$name") {
      $names{$_} = 1 for files_below("$top/$name", "$name/");
    } else {
      $names{$name} = 1;
    }
  }
  return \%names;
}

sub compare_set {
  my ($self, $kind, $produced) = @_;
  my $expected = $self->expected_names($kind);
  for my $pair (@$produced) {
    my ($name, $path) = @$pair;
    my $full = "$self->{number}.$name";
    my $got = $self->munged($path);
    my $want = delete $expected->{$full} ? Sandbox::slurp("$self->{suite}/$kind/$full") : '';
    $self->compare("$kind/$full", $want, $got);
  }
  for my $missing (sort keys %$expected) {
    push @{ $self->{problems} }, "$kind/$missing missing";
    $self->{diff} .= "$kind/$missing was not produced\n";
  }
}

sub mailboxes {
  my ($self) = @_;
  my @produced = map { [$self->{munge}->mail_name($_), "test-mail/$_"] } files_below('test-mail', '');
  $self->compare_set('mail', \@produced);
}

sub message_logs {
  my ($self) = @_;
  my @produced = map { [$self->{munge}->map_ids($_), "spool/msglog/$_"] } files_below('spool/msglog', '');
  $self->compare_set('msglog', \@produced);
}

1;

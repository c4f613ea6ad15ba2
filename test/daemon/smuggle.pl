# SPDX-License-Identifier: GPL-2.0-or-later
# SMG-8: input where nobody gave leave for it, over real connections.  Where order is enforced it ends the connection with 554; nowhere does a
# transaction begin that its own client could not have asked for.
use strict;
use warnings;
use constant SIOCOUTQ => 0x5411;    # asm-generic/sockios.h: bytes the peer has not acknowledged

my $evil = "MAIL FROM:<evil\@b.test>\r\nRCPT TO:<box\@local.test>\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n";
my $hello = "EHLO x\r\n";
my $begin = "MAIL FROM:<a\@b.test>\r\n";

# What is sent step by step, and the codes that answer each step; the next step is sent after them.  A first step of "" waits for the greeting,
# any other is at the server before it accepts the connection.
my @rows = (
    ['before the greeting', [$hello => '554']],
    ['a whole message before the greeting', ["$hello$evil" => '554']],
    ['behind HELO', ['' => '220', "HELO x\r\n$begin" => '554']],
    ['behind EHLO', ['' => '220', "$hello$begin" => '554']],
    ['a group without PIPELINING', ['' => '220', "HELO x\r\n" => '250', "${begin}RCPT TO:<box\@local.test>\r\n" => '554']],
    ['behind DATA, before 354',
        ['' => '220', $hello => '250', $begin => '250', "RCPT TO:<box\@local.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n$evil" => '250 554']],
    ['behind RSET', ['' => '220', "HELO x\r\n" => '250', "RSET\r\n$evil" => '554']],
    ['behind QUIT', ['' => '220', $hello => '250', "QUIT\r\n$evil" => '221']],
    ['behind VRFY', ['' => '220', $hello => '250', "VRFY x\r\n$evil" => '554']],
    ['behind an unknown command', ['' => '220', $hello => '250', "FOO\r\n$evil" => '554']],
    ['behind a chunk without PIPELINING', ['' => '220', $hello => '250', "NOOP\r\n$evil" => '554']],
    ['an honest group',
        ['' => '220', $hello => '250', "${begin}RCPT TO:<box\@local.test>\r\nDATA\r\n" => '250 250 354',
            "Subject: x\r\n\r\n.\r\n" => '250', "QUIT\r\n" => '221']],
    ['behind the end of an honest message',
        ['' => '220', $hello => '250', "${begin}RCPT TO:<box\@local.test>\r\nDATA\r\n" => '250 250 354',
            "Subject: x\r\n\r\n.\r\nRSET\r\nQUIT\r\n" => '250 250 221']],
);

# A connection that holds the words before the daemon accepts it: the acceptor, a child of the daemon, stands still meanwhile with all its
# siblings, and the kernel takes both.
sub speak_first {
    my ($lab, $words) = @_;
    my @daemons = split ' ', DaemonLab::slurp("/proc/$lab->{daemon}/task/$lab->{daemon}/children");
    kill 'STOP', @daemons;
    my $running = sub { scalar grep { DaemonLab::slurp("/proc/$_/stat") !~ /\) T / } @daemons };
    $lab->wait_for(sub { !$running->() }) or die "the daemon does not stop\n";
    my $c = $lab->connect;
    syswrite $c->{io}, $words;
    my $unacknowledged = sub { my $n = pack 'i', 0; ioctl($c->{io}, SIOCOUTQ, $n) or die "ioctl: $!\n"; return unpack 'i', $n };
    $lab->wait_for(sub { !$unacknowledged->() }) or die "the words do not arrive\n";
    kill 'CONT', @daemons;
    return $c;
}

# The codes of every reply, those of one step joined by blanks, steps by ", ".  Behind the last step the connection ends or the server is silent.
sub play {
    my ($lab, $steps) = @_;
    my @step = @$steps;
    my ($c, @said);
    local $SIG{PIPE} = 'IGNORE';
    while (my ($words, $wanted) = splice @step, 0, 2) {
        if (!$c) { $c = $words ne '' ? speak_first($lab, $words) : $lab->connect }
        else { syswrite $c->{io}, $words }
        my @codes;
        while (@codes < split(' ', $wanted) || !@step) {
            my $r = $lab->reply($c, @codes < split(' ', $wanted) ? undef : 0.3) or last;
            push @codes, substr $r, 0, 3;
        }
        push @said, "@codes";
    }
    return join ', ', @said;
}

sub wanted { my ($steps) = @_; return join ', ', map { $steps->[$_] } grep { $_ % 2 } 0 .. $#$steps }

part('input without leave' => sub {
    my ($lab) = @_;
    $lab->start(main => "queue_only\n.ifdef _OPT_MAIN_PIPELINING_CONNECT_ADVERTISE_HOSTS\npipelining_connect_advertise_hosts =\n.endif\n"
        . "acl_smtp_vrfy = accept\nsmtp_connect_backlog = 100\n");
    is($_->[0], play($lab, $_->[1]), wanted($_->[1])) for @rows;
    check('nothing of the stranger was taken', $lab->log('main') !~ /<= evil/);
    is('two honest messages were', scalar(() = $lab->log('main') =~ /<= a\@b\.test/g), '2');
    is('each refusal has its line', scalar(() = $lab->log('main') =~ /synchronization error/g), scalar grep { wanted($_->[1]) =~ /554/ } @rows);
});
1;

# SPDX-License-Identifier: GPL-2.0-or-later
# SMG-8: input where nobody gave leave for it, over real connections.  Where order is enforced it ends the connection with 554; nowhere does a
# transaction begin that its own client could not have asked for.
use strict;
use warnings;

my $evil = "MAIL FROM:<evil\@b.test>\r\nRCPT TO:<box\@local.test>\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n";
my $hello = "EHLO x\r\n";
my $begin = "MAIL FROM:<a\@b.test>\r\n";

# What is sent step by step (each after the reply to the one before; "" waits for the greeting), and the codes that must come.
my @rows = (
    ['before the greeting', [$hello], '554'],
    ['a whole message before the greeting', ["$hello$evil"], '554'],
    ['behind HELO', ['', "HELO x\r\n$begin"], '220 554'],
    ['behind EHLO', ['', "$hello$begin"], '220 554'],
    ['a group without PIPELINING', ['', "HELO x\r\n", "${begin}RCPT TO:<box\@local.test>\r\n"], '220 250 554'],
    ['behind DATA, before 354', ['', $hello, $begin, "RCPT TO:<box\@local.test>\r\n", "DATA\r\nSubject: x\r\n\r\n.\r\n$evil"], '220 250 250 250 554'],
    ['behind RSET', ['', "HELO x\r\n", "RSET\r\n$evil"], '220 250 554'],
    ['behind QUIT', ['', $hello, "QUIT\r\n$evil"], '220 250 221'],
    ['behind VRFY', ['', $hello, "VRFY x\r\n$evil"], '220 250 554'],
    ['behind an unknown command', ['', $hello, "FOO\r\n$evil"], '220 250 554'],
    ['behind a chunk without PIPELINING', ['', $hello, "NOOP\r\n$evil"], '220 250 554'],
    ['an honest group', ['', $hello, "${begin}RCPT TO:<box\@local.test>\r\nDATA\r\n", "Subject: x\r\n\r\n.\r\n", "QUIT\r\n"], '220 250 250 250 354 250 221'],
    ['behind the end of an honest message', ['', $hello, "${begin}RCPT TO:<box\@local.test>\r\nDATA\r\n", "Subject: x\r\n\r\n.\r\nRSET\r\nQUIT\r\n"],
        '220 250 250 250 354 250 250 221'],
);

sub play {
    my ($lab, $steps) = @_;
    my $c = $lab->connect;
    my @codes;
    my $read_all = sub {
        my ($sec) = @_;
        while (defined(my $r = $lab->reply($c, $sec))) {
            return 0 if $r eq '';
            push @codes, substr $r, 0, 3;
            $sec = 0.3;
        }
        return 1;
    };
    for my $step (@$steps) {
        local $SIG{PIPE} = 'IGNORE';
        syswrite $c->{io}, $step if $step ne '';
        $read_all->(5) or last;
    }
    return join ' ', @codes;
}

part('input without leave' => sub {
    my ($lab) = @_;
    $lab->start(main => "queue_only\n.ifdef _OPT_MAIN_PIPELINING_CONNECT_ADVERTISE_HOSTS\npipelining_connect_advertise_hosts =\n.endif\n"
        . "acl_smtp_vrfy = accept\nsmtp_connect_backlog = 100\n");
    # Before the greeting: input that comes late meets the greeting first.
    is($_->[0], play($lab, $_->[1]) =~ s/^220 554$/554/r, $_->[2] =~ s/^220 554$/554/r) for @rows;
    check('nothing of the stranger was taken', $lab->log('main') !~ /<= evil/);
    is('two honest messages were', scalar(() = $lab->log('main') =~ /<= a\@b\.test/g), '2');
    is('each refusal has its line', scalar(() = $lab->log('main') =~ /synchronization error/g), scalar grep { $_->[2] =~ /554/ } @rows);
});
1;

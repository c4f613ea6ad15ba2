# SPDX-License-Identifier: GPL-2.0-or-later
# RFC 1413: who is asked, how long, and where the answer is seen.
use strict;
use warnings;
use Time::HiRes qw(time sleep);

my %reply = (
    plain => sub { my ($s, $pair) = @_; print $s "$pair : USERID : UNIX : joe\r\n" },
    bytes => sub { my ($s, $pair) = @_; for (split //, "$pair : USERID : UNIX : slow joe\r\n") { print $s $_; sleep 0.01 } },
    control => sub { my ($s, $pair) = @_; print $s "$pair : USERID : UNIX : a\001b\r\n" },
    error => sub { my ($s, $pair) = @_; print $s "$pair : ERROR : NO-USER\r\n" },
    open_end => sub { my ($s, $pair) = @_; print $s "$pair : USERID : UNIX : joe" },
    flood => sub { my ($s) = @_; print $s 'x' x 100_000 },
    drip => sub { my ($s) = @_; for (1 .. 60) { print $s 'x' or last; sleep 0.1 } },
    silent => sub { sleep 6 },
);
my @order = qw(plain bytes control error open_end flood drip silent);
my %want = (plain => 'joe', bytes => 'slow joe', control => 'a\001b');

part('ident' => sub {
    my ($lab) = @_;
    my $turn = "$lab->{dir}/turn";
    $lab->serve(113, sub {
        my ($s) = @_;
        $SIG{PIPE} = 'IGNORE';
        my $query = <$s> // '';
        $query =~ s/\r\n$// or return;
        $reply{ DaemonLab::slurp($turn) }->($s, $query);
    });
    $lab->start(main => "rfc1413_query_timeout = 2s\nrfc1413_hosts = 127.0.0.1\nqueue_only\n",
        acl => "  accept message = ident=<\$sender_ident>\n");
    for my $name (@order) {
        DaemonLab::spew($turn, $name);
        my $began = time;
        my $c = $lab->client;
        my $took = time - $began;
        $lab->say($c, 'EHLO x');
        $lab->say($c, 'MAIL FROM:<a@b.test>');
        is("$name: \$sender_ident", $lab->say($c, 'RCPT TO:<box@local.test>'), '250 ident=<' . ($want{$name} // '') . '>');
        check("$name: not longer than allowed", $took < 5, sprintf '%.1f s', $took);
        next if $name ne 'plain';
        $lab->say($c, 'DATA');
        $lab->say($c, "Subject: x\r\n\r\n.");
        check('the arrival line has it', $lab->log_has(qr/<= a\@b\.test H=\(x\) \[127\.0\.0\.1\] U=joe P=esmtp/));
        is('so has the Received: line', join('', DaemonLab::slurp((glob "$lab->{dir}/spool/input/*-H")[0]) =~ /Received: from (.*)/), '[127.0.0.1] (helo=x ident=joe)');
    }
    DaemonLab::spew($turn, 'plain');
    my $other = $lab->client(LocalAddr => '127.0.0.2');
    $lab->say($other, 'EHLO x');
    $lab->say($other, 'MAIL FROM:<a@b.test>');
    is('others are not asked', $lab->say($other, 'RCPT TO:<box@local.test>'), '250 ident=<>');
});

part('ident that nobody takes' => sub {
    my ($lab) = @_;
    my $full = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "listen: $!\n";
    my @waiting = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0) } 1 .. 4; # no room for another
    $lab->start(main => "rfc1413_query_timeout = 1s\nrfc1413_hosts = 127.0.0.1\nrfc1413_port = " . $full->sockport . "\nlog_selector = +ident_timeout\n");
    is('the session goes on', $lab->say($lab->client, 'EHLO x') =~ /^250/ ? 'yes' : 'no', 'yes');
    check('+ident_timeout', $lab->log_has(qr/ident connection to 127\.0\.0\.1 timed out\n/), $lab->log('main'));
});
1;

# SPDX-License-Identifier: GPL-2.0-or-later
# BDAT: what is counted, what is kept of line ends, what the log says of messages that stop.  The totals are those of Exim 4.96.
use strict;
use warnings;

my $head = "To: s\@r.test\r\nFrom: s\@r.test\r\nSubject: x\r\n";

sub envelope {
    my ($lab) = @_;
    my $c = $lab->client;
    $lab->say($c, 'EHLO c');
    $lab->say($c, 'MAIL FROM:<a@b.test>');
    $lab->say($c, 'RCPT TO:<box@local.test>');
    return $c;
}

sub chunk { my ($lab, $c, $text, $last) = @_; syswrite $c->{io}, 'BDAT ' . length($text) . ($last ? ' LAST' : '') . "\r\n$text"; return $lab->reply($c) }

# The body of the newest message on the spool, line ends shown.
sub body {
    my ($lab) = @_;
    my ($newest) = sort { -M $a <=> -M $b } glob "$lab->{dir}/spool/input/*-D";
    my $text = DaemonLab::slurp($newest) =~ s/^.*\n//r;
    unlink glob "$lab->{dir}/spool/input/*";
    return $text =~ s/\n/\$/gr;
}

part('chunks' => sub {
    my ($lab) = @_;
    $lab->start(main => "queue_only\nchunking_advertise_hosts = *\n");
    # chunks, what the last reply counts beyond them, the body kept
    my @rows = (
        [[$head], 0, ''],
        [["$head\r\n"], 0, ''],
        [[$head, "ZZ\r\n"], 1, 'ZZ$'],
        [[$head, "\r\nZZ\r\n"], 0, 'ZZ$'],
        [["$head\r\n", 'ZZ'], 2, 'ZZ$'],
        [["$head\r\nZZ\n"], 1, 'ZZ$'],
        [["$head\r\nA\nB\n"], 2, 'A$B$'],
        [["${head}ZZ"], 3, 'ZZ$'],
        [["\r\nZZ\r\n"], 0, 'ZZ$'],
        [["$head\r\nZZ\r"], 1, 'ZZ$'],
        [["$head\r\n.\r\n", "..\r\n.\r\n"], 0, '.$..$.$'],
    );
    for my $row (@rows) {
        my ($chunks, $more, $body) = @$row;
        my $c = envelope($lab);
        my ($reply, $sum) = ('', 0);
        for my $i (0 .. $#$chunks) {
            $reply = chunk($lab, $c, $chunks->[$i], $i == $#$chunks);
            $sum += length $chunks->[$i];
        }
        my $name = join('|', @$chunks) =~ s/\r/\\r/gr =~ s/\n/\\n/gr =~ s/^To.*?x\\r\\n/HEAD+/r;
        is("$name: total", $reply =~ /total (\d+)/ ? $1 : $reply, $sum + $more);
        is("$name: body", body($lab), $body);
        $lab->say($c, 'QUIT');
    }
    # how the client leaves a message that is not whole, and whether that is a loss
    my @ends = ([quit => 1, 'QUIT'], [broken => 1, 'DATA', 'QUIT'], [reset => 0, 'RSET', 'QUIT'], ['broken-reset' => 0, 'DATA', 'RSET', 'QUIT'], [gone => 1]);
    for my $row (@ends) {
        my ($name, $is_loss, @said) = @$row;
        my $c = $lab->client;
        $lab->say($c, $_) for "EHLO $name", 'MAIL FROM:<a@b.test>', 'RCPT TO:<box@local.test>';
        is("$name: a chunk", chunk($lab, $c, "$head\r\n", 0), '250 ' . length("$head\r\n") . ' byte chunk received');
        $lab->say($c, $_) for @said;
        close $c->{io};
        my $seen = $lab->log_has(qr/\(\Q$name\E\) \[127\.0\.0\.1\] lost while reading message data/, $is_loss ? 10 : 0.5);
        check("$name: " . ($is_loss ? 'a loss' : 'no loss'), !!$seen == !!$is_loss);
    }
    $lab->wait_for(sub { !glob "$lab->{dir}/spool/input/*" }, 5);
    is('nothing of them stays', join(' ', glob "$lab->{dir}/spool/input/*"), '');
    my $c = envelope($lab);
    syswrite $c->{io}, "BDAT 18 LAST\r\nTo: x\r\nA: b\n c\r\n\r\n";
    is('a header that ends in LF alone', $lab->reply($c), '552 Message header not CRLF terminated');
});

# Configurations with which nobody can be served: said to all, or nothing at all, and logged once.
part('shut' => sub {
    my ($lab) = @_;
    $lab->{panic_ok} = 1;
    my @rows = (
        ['message_size_limit = 8796093022208M', '421 Temporary local problem - please try later', qr/invalid message_size_limit: absolute value of integer/],
        ['message_size_limit = ${if', '421 Temporary local problem - please try later', qr/unable to expand message_size_limit: /],
        ['smtp_banner = ${if', '421 Unexpected failure, please try later', qr/Expansion of "\$\{if" \(smtp_banner\) failed: /],
        ['smtp_active_hostname = ${lookup{x}lsearch{/non/exist}}', '', qr/\n\S+ \S+ failed to expand "[^"]*" \(smtp_active_hostname\): failed to open/],
    );
    for my $row (@rows) {
        my ($main, $reply, $line) = @$row;
        $lab->start(main => "$main\n");
        my $c = $lab->client;
        is("$main: greeting", $c->{greeting}, $reply);
        is("$main: EHLO", $lab->say($c, 'EHLO x'), $reply) if $reply;
        is("$main: QUIT", substr($lab->say($c, 'QUIT'), 0, 3), '221') if $reply;
        check("$main: the log says why", $lab->log_has($line, 5));
        $lab->stop;
    }
    $lab->write_configuration(main => "message_size_limit = abc\n");
    my $text = $lab->exim("x\n", 'a@b.test');
    check('a submission is not taken', $lab->{status} != 0 && $text =~ /invalid value for message_size_limit: integer expected but "abc" found/, $text);
    is('a message that is not there', $lab->exim('', '-MG', 'other', '1abcde-000001-AA'), "Spool data file for 1abcde-000001-AA does not exist\n\n");
});

part('header lines that hold blanks only' => sub {
    my ($lab) = @_;
    $lab->start(main => "queue_only\n");
    my $c = envelope($lab);
    $lab->say($c, 'DATA');
    $lab->say($c, "X: a\r\n  \r\n b\r\nY: c   \r\nZ: d \r\n\t\r\n\r\nbody\r\n.");
    my ($file) = glob "$lab->{dir}/spool/input/*-H";
    is('at the end of a header they go', join('', DaemonLab::slurp($file) =~ /^\d+[* ] +((?:X|Y|Z):.*\n(?:[ \t].*\n)*)/mg) =~ s/\n/\$/gr, 'X: a$  $ b$Y: c   $Z: d $');
});
1;

# SPDX-License-Identifier: GPL-2.0-or-later
# Many connections that say nothing: what one costs, and what the others notice.  LIM-8, TLS-6.
#
# One part holds 1,000 connections, half of them in TLS (5,000 and 500 seconds of mail with --long), while mail flows; another opens TLS handshakes that
# never get on.  Memory of a session is what its process has for itself (private pages); the page tables, which the kernel keeps for each process, are told beside it.
use strict;
use warnings;
use Time::HiRes qw(time sleep);

my $smtpload = ($ENV{BUILD} // "$main::lab_options->{top}/build") . '/test/bin/smtpload';

sub certificate {
    my ($lab) = @_;
    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=mx.test -days 2 "
        . "-keyout $lab->{dir}/key -out $lab->{dir}/cert >/dev/null 2>&1") == 0 or die "openssl makes no certificate\n";
    chmod 0644, "$lab->{dir}/key";
    return "tls_advertise_hosts = *\ntls_certificate = $lab->{dir}/cert\ntls_privatekey = $lab->{dir}/key\n";
}

sub idlers {
    my ($lab, $n, @options) = @_;
    pipe my $in, my $end or die "pipe: $!\n";
    my $pid = open(my $out, '-|') // die "fork: $!\n";
    if (!$pid) {
        close $end;
        open STDIN, '<&', $in;
        exec $smtpload, '-I', '-c', $n, '-n', $n, '-t', 'box@local.test', @options, '127.0.0.1', $lab->{port} or POSIX::_exit(127);
    }
    close $in;
    push @{ $lab->{pids} }, $pid;
    return { pid => $pid, out => $out, end => $end };
}

# Process ids below another one.
sub children {
    my ($parent) = @_;
    return split ' ', DaemonLab::slurp("/proc/$parent/task/$parent/children");
}

sub kib { my ($text, @names) = @_; my $n = 0; for my $name (@names) { $n += $1 if $text =~ /^$name:\s+(\d+) kB/m } return $n }

# KiB of each session's private pages; the page tables of one.
sub session_sizes {
    my ($acceptor, $ret_tables) = @_;
    my @sizes;
    for my $pid (children($acceptor)) {
        my $rollup = DaemonLab::slurp("/proc/$pid/smaps_rollup") or next;
        push @sizes, kib($rollup, 'Private_Clean', 'Private_Dirty');
        $$ret_tables = kib(DaemonLab::slurp("/proc/$pid/status"), 'VmPTE');
    }
    return sort { $a <=> $b } @sizes;
}

sub acceptor_of { my ($lab) = @_; my ($pid) = grep { DaemonLab::slurp("/proc/$_/status") =~ /^Name:/m && children($_) } children($lab->{daemon}); return $pid }
sub cpu_sec { my ($pid) = @_; my @f = split ' ', DaemonLab::slurp("/proc/$pid/stat") =~ s/^.*\) //sr; return ($f[11] + $f[12]) / POSIX::sysconf(&POSIX::_SC_CLK_TCK) }

# Seconds from connect to greeting, and whether the message was taken.
sub one_message {
    my ($lab) = @_;
    my $began = time;
    my $c = $lab->client;
    my $took = time - $began;
    $lab->say($c, 'EHLO x');
    $lab->say($c, 'MAIL FROM:<a@b.test>');
    $lab->say($c, 'RCPT TO:<box@local.test>');
    $lab->say($c, 'DATA');
    my $ok = ($lab->say($c, "Subject: x\r\n\r\nx\r\n.") // '') =~ /^250/;
    $lab->say($c, 'QUIT');
    return ($took, $ok);
}

sub percentile { my ($p, @v) = @_; @v = sort { $a <=> $b } @v; return @v ? $v[int($p / 100 * $#v)] : 0 }

part('idle connections' => sub {
    my ($lab) = @_;
    my $half = $lab->{long} ? 2500 : 500;
    my $seconds = $lab->{long} ? 500 : 4;
    return check('smtpload is not built: not tested', 1) if !-x $smtpload;
    $lab->start(tls => certificate($lab), main => "smtp_accept_max = 0\nsmtp_connect_backlog = 4000\nsmtp_receive_timeout = 30m\nlog_selector = -smtp_connection\nqueue_only\n");
    my $began = time;
    my $clear = idlers($lab, $half);
    my $clear_held = readline $clear->{out};
    my $acceptor = acceptor_of($lab);
    my $tables = 0;
    my @clear = session_sizes($acceptor, \$tables);
    my $secret = idlers($lab, $half, '-S');
    is('all are held', $clear_held . (readline $secret->{out}), "held $half\nheld $half\n");
    my @all = session_sizes($acceptor, \$tables);
    is('each has its session', scalar @all, 2 * $half);
    my $mean_clear = @clear ? eval { my $s = 0; $s += $_ for @clear; $s / @clear } : 0;
    my $mean_all = @all ? eval { my $s = 0; $s += $_ for @all; $s / @all } : 0;
    my $mean_tls = 2 * $mean_all - $mean_clear;
    check(sprintf('an idle connection costs %.0f KiB, in TLS %.0f KiB: at most 300', $mean_clear, $mean_tls), $mean_tls <= 300 && $mean_clear <= 300,
        "largest: $all[-1] KiB");
    printf "   %d connections held after %.1f s; KiB each: %.0f in clear, %.0f in TLS (largest %d), and %d of page tables\n",
        2 * $half, time - $began, $mean_clear, $mean_tls, $all[-1], $tables;
    my ($cpu, $from, @took) = (cpu_sec($acceptor), time);
    my $bad = 0;
    while (time - $from < $seconds) {
        my ($took, $ok) = one_message($lab);
        push @took, $took;
        $bad++ if !$ok;
    }
    my $share = 100 * (cpu_sec($acceptor) - $cpu) / (time - $from);
    my $p99 = 1000 * percentile(99, @took);
    printf "   meanwhile %d messages, greeting p50 %.1f ms, p99 %.1f ms; acceptor %.0f %% of a processor\n", scalar @took, 1000 * percentile(50, @took), $p99, $share;
    is('mail flows', $bad, 0);
    check('the greeting comes within half a second (p99)', $p99 < 500, sprintf '%.1f ms', $p99);
    close $_->{end} for $clear, $secret;
    for my $x ([clear => $clear], [TLS => $secret]) {
        my $line = readline($x->[1]{out}) // '';
        check("those in $x->[0] were alive: each sent its message", $line =~ /^ok $half bad 0 /, $line);
    }
});

part('handshakes that never end' => sub {
    my ($lab) = @_;
    my $n = $lab->{long} ? 10_000 : 150;
    my $limit = 100;
    $lab->start(tls => certificate($lab), main => "smtp_accept_max = $limit\nsmtp_accept_reserve = 10\nsmtp_reserve_hosts = 127.0.0.9\nsmtp_receive_timeout = 8s\nqueue_only\n");
    my (@open, $refused, $begun);
    for (1 .. $n) {
        my $c = $lab->connect;
        my $greeting = $lab->reply($c) // '';
        if ($greeting !~ /^220/) { $refused++; next }
        $lab->say($c, 'EHLO slow');
        next if ($lab->say($c, 'STARTTLS') // '') !~ /^220/;
        syswrite $c->{io}, "\x16\x03\x01\x02";
        $begun++;
        push @open, $c;
    }
    is('as many as may, and no more', "$begun begun, $refused refused", ($limit - 10) . ' begun, ' . ($n - $limit + 10) . ' refused');
    my $began = time;
    my $other = $lab->client(LocalAddr => '127.0.0.9');
    check('a host with a reserved place is greeted at once', $other->{greeting} =~ /^220/ && time - $began < 1, sprintf '%.2f s', time - $began);
    my $end = time + 6;
    while (time < $end) { # a byte a second each: no reason to wait longer
        sleep 1;
        $SIG{PIPE} = 'IGNORE';
        syswrite $_->{io}, "\0" for @open;
    }
    $began = time;
    my $gone = $lab->wait_for(sub { my $c = $lab->connect; my $ok = ($lab->reply($c) // '') =~ /^220/; $ok }, 10);
    check('after smtp_receive_timeout their places are free', $gone, sprintf '%.1f s', time - $began);
});
1;

# SPDX-License-Identifier: GPL-2.0-or-later
# Many connections that say nothing: what one costs, and what the others notice.  LIM-8, TLS-6.
#
# One part holds 1,000 connections, half of them in TLS (with --long 5,000 in TLS), while others send mail; another opens TLS handshakes that never
# get on.  Memory of a session is what its process has for itself (private pages); the page tables, which the kernel keeps for each process, are told beside it.
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

# The acceptor's first child holds the keys (doc/tls.txt), the others are sessions.
sub sessions {
    my ($acceptor) = @_;
    my ($first, @others) = children($acceptor);
    return @others if !defined $first || DaemonLab::slurp("/proc/$first/status") =~ /^NoNewPrivs:\s+1$/m;
    return ($first, @others);
}

sub kib { my ($text, @names) = @_; my $n = 0; for my $name (@names) { $n += $1 if $text =~ /^$name:\s+(\d+) kB/m } return $n }

# KiB of each session's private pages; the page tables of one.
sub session_sizes {
    my ($acceptor, $ret_tables) = @_;
    my @sizes;
    for my $pid (sessions($acceptor)) {
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

# Clients that work meanwhile: STARTTLS, a message, a pause of two seconds, again.  What smtpload says in the end.
sub workers {
    my ($lab, $n, $seconds) = @_;
    my $pid = open(my $out, '-|') // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        exec $smtpload, '-S', '-c', $n, '-w', 2000, '-d', $seconds, '-n', 2 * $n * ($seconds + 2), '-t', 'gone@local.test', '127.0.0.1', $lab->{port}
          or POSIX::_exit(127);
    }
    push @{ $lab->{pids} }, $pid;
    return $out;
}

# The long form holds 5,000 connections in TLS for half an hour (EXIM_LIM8_SEC: another time), the short one 500.
part('idle connections' => sub {
    my ($lab) = @_;
    my ($in_clear, $in_tls, $active) = $lab->{long} ? (500, 5000, 200) : (500, 500, 20);
    my $seconds = $lab->{long} ? $ENV{EXIM_LIM8_SEC} // 1800 : 4;
    return check('smtpload is not built: not tested', 1) if !-x $smtpload;
    $lab->start(tls => certificate($lab), acl => "  discard local_parts = gone\n",
        main => "smtp_accept_max = 0\nsmtp_connect_backlog = 4000\nsmtp_receive_timeout = 3h\nlog_selector = -smtp_connection\nqueue_only\n");
    my $began = time;
    my $clear = idlers($lab, $in_clear);
    my $clear_held = readline $clear->{out};
    my $acceptor = acceptor_of($lab);
    my $tables = 0;
    my @clear = session_sizes($acceptor, \$tables);
    my $secret = idlers($lab, $in_tls, '-S');
    is('all are held', $clear_held . (readline $secret->{out}), "held $in_clear\nheld $in_tls\n");
    my @all = session_sizes($acceptor, \$tables);
    is('each has its session', scalar @all, $in_clear + $in_tls);
    my $sum = sub { my $s = 0; $s += $_ for @_; return $s };
    my $mean_clear = @clear ? $sum->(@clear) / @clear : 0;
    my $mean_tls = ($sum->(@all) - $in_clear * $mean_clear) / $in_tls;
    check(sprintf('an idle connection costs %.0f KiB, in TLS %.0f KiB: at most 300', $mean_clear, $mean_tls), $mean_tls <= 300 && $mean_clear <= 300,
        "largest: $all[-1] KiB");
    printf "   %d connections held after %.1f s, %d of them in TLS; KiB each: %.0f in clear, %.0f in TLS (largest %d), and %d of page tables\n",
        $in_clear + $in_tls, time - $began, $in_tls, $mean_clear, $mean_tls, $all[-1], $tables;
    check('with page tables each costs at most half a MiB', $mean_tls + $tables <= 512, $mean_tls + $tables);
    my ($cpu, $from) = (cpu_sec($acceptor), time);
    my $work = workers($lab, $active, $seconds);
    my ($mail, $greetings) = (readline($work) // '', readline($work) // '');
    my $share = 100 * (cpu_sec($acceptor) - $cpu) / (time - $from);
    my ($sent, $bad, $rate) = $mail =~ /^ok (\d+) bad (\d+) .* rate (\S+)/;
    my ($p50, $p99, $max) = $greetings =~ /p50_ms (\S+) p99_ms (\S+) max_ms (\S+)/;
    check('mail flows', $sent && !$bad, "$mail$greetings");
    printf "   meanwhile %d active clients in TLS sent %d messages (%.0f a second) in %d s; greeting p50 %.1f ms, p99 %.1f ms, max %.1f ms; acceptor %.1f %% of a "
        . "processor\n", $active, $sent // 0, $rate // 0, time - $from, $p50 // -1, $p99 // -1, $max // -1, $share;
    check('the greeting comes within half a second (p99)', defined $p99 && $p99 < 500, $greetings);
    check('the acceptor needs less than a fifth of a processor', $share < 20, sprintf '%.1f %%', $share);
    my @later = session_sizes($acceptor, \$tables);
    check('the idle ones have not grown', @later >= $in_clear + $in_tls && $sum->(@later) / @later <= 1.05 * $sum->(@all) / @all + 4,
        sprintf '%d sessions, %.0f KiB', scalar @later, $sum->(@later) / (@later || 1));
    close $_->{end} for $clear, $secret;
    for my $x ([clear => $clear, $in_clear], [TLS => $secret, $in_tls]) {
        my $line = readline($x->[1]{out}) // '';
        check("those in $x->[0] were alive: each sent its message", $line =~ /^ok $x->[2] bad 0 /, $line);
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
    # at once: without waiting for one of the others to time out
    check('a host with a reserved place is greeted at once', $other->{greeting} =~ /^220/ && time - $began < 5, sprintf '%.2f s', time - $began);
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

# So many connections to the port for TLS on connect, each of which sends its hello a byte a second, until the process is ended.
sub drippers {
    my ($lab, $n) = @_;
    pipe my $in, my $out or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        $SIG{TERM} = 'DEFAULT';
        $SIG{PIPE} = 'IGNORE';
        my @open;
        for my $i (1 .. $n) {
            my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 2526, LocalAddr => '127.0.1.' . (1 + $i % 200), Timeout => 60);
            push @open, $s if $s;
        }
        syswrite $out, scalar(@open) . "\n";
        my $hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . "\0" x 500;
        for my $at (0 .. length($hello) - 1) {
            my $next = time + 1;
            $_->blocking(0), syswrite $_, substr $hello, $at, 1 for @open;
            sleep($next - time) if $next > time;
        }
        sleep 600;
        POSIX::_exit(0);
    }
    close $out;
    push @{ $lab->{pids} }, $pid;
    return ($pid, $in);
}

# Greetings of a host with a reserved place, for so many seconds: milliseconds each, and the most sessions there were at once.
sub greetings {
    my ($lab, $acceptor, $seconds) = @_;
    my ($until, $most, @took) = (time + $seconds, 0);
    while (time < $until) {
        my $began = time;
        my $c = $lab->client(LocalAddr => '127.0.0.9');
        push @took, ($c->{greeting} // '') =~ /^220/ ? 1000 * (time - $began) : 1e6;
        $lab->say($c, 'QUIT');
        my $now = () = sessions($acceptor);
        $most = $now if $now > $most;
        sleep 0.05;
    }
    return ($most, @took);
}

part('half-open handshakes by the thousand' => sub {
    my ($lab) = @_;
    return check('only with --long', 1) if !$lab->{long};
    my $n = 10_000;
    for my $row ([500, 20], [0, 180]) {
        my ($limit, $timeout) = @$row;
        my $what = $limit ? "smtp_accept_max = $limit" : 'no limit';
        $lab->start(tls => certificate($lab), ports => "2525 : 2526", main => "tls_on_connect_ports = 2526\nsmtp_accept_max = $limit\n"
            . ($limit ? "smtp_accept_reserve = 10\nsmtp_reserve_hosts = 127.0.0.9\n" : '') . "smtp_connect_backlog = 4000\nsmtp_receive_timeout = ${timeout}s\nqueue_only\n"
            . "log_selector = -smtp_connection -connection_reject\n");
        my $first = $lab->client;
        my $acceptor = acceptor_of($lab) // die "no acceptor\n";
        close $first->{io};
        my ($cpu, $from) = (cpu_sec($acceptor), time);
        my ($pid, $in) = drippers($lab, $n);
        my ($most, @took) = greetings($lab, $acceptor, $limit ? 15 : 120);
        my $opened = readline($in) // 0;
        my $share = 100 * (cpu_sec($acceptor) - $cpu) / (time - $from);
        my ($p99, $max) = (percentile(99, @took), percentile(100, @took));
        printf "   %s: %d connections of %d opened, at most %d sessions at once; %d other greetings, p50 %.1f ms, p99 %.1f ms, max %.1f ms; acceptor %.1f %%\n",
            $what, $opened, $n, $most, scalar @took, percentile(50, @took), $p99, $max, $share;
        check("$what: others are greeted within a second", $max < 1000, sprintf 'max %.1f ms', $max);
        check("$what: no more sessions than there may be", $limit ? $most <= $limit : $most >= 0.9 * $opened, "$most of $opened");
        my $gone = $lab->wait_for(sub { my $k = () = sessions($acceptor); $k <= 1 }, $timeout + 60);
        check("$what: all are ended by smtp_receive_timeout, though each sent a byte a second", $gone, scalar(() = sessions($acceptor)));
        kill 'TERM', $pid;
        $lab->stop;
    }
});
1;

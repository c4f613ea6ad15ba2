# SPDX-License-Identifier: GPL-2.0-or-later
# The process that holds the private keys of TLS (doc/tls.txt): no acceptor and no session has them in its memory, all kinds of handshakes work
# through it, after its death too, and when its files change.
use strict;
use warnings;
use IPC::Open3;
use Time::HiRes qw(time sleep);

sub openssl { system("openssl @_ >/dev/null 2>&1") == 0 or die "openssl @_: failed\n" }

# Files NAME.key and NAME.pem for an RSA or an ECDSA key; made whole beside them, then renamed.
sub make_pair {
    my ($lab, $name, $kind, $subject) = @_;
    my $base = "$lab->{dir}/$name";
    my $key = $kind eq 'rsa' ? '-newkey rsa:2048' : '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1';
    openssl("req -x509 $key -nodes -subj /CN=$subject -days 2 -keyout $base.key.new -out $base.pem.new");
    chown((getpwnam 'mail')[2, 3], "$base.key.new");
    chmod 0400, "$base.key.new";
    rename "$base.$_.new", "$base.$_" or die "$base.$_: $!\n" for qw(key pem);
}

# What only the key has: RSA's first prime or the scalar, from either end, and a line from the middle of its file.
sub secrets {
    my ($file) = @_;
    my $text = `openssl pkey -in $file -noout -text`;
    my ($hex) = $text =~ /^(?:prime1|priv):\n((?: +[0-9a-f:]+\n)+)/m or die "$file: no private part\n";
    my $bytes = pack 'H*', $hex =~ s/[^0-9a-f]//gr;
    $bytes =~ s/^\0+//;
    my @lines = split /\n/, DaemonLab::slurp($file);
    return (forwards => $bytes, backwards => scalar reverse($bytes), text => $lines[@lines > 6 ? 6 : 1]);
}

# Which of the secrets are in the process's memory.
sub found_in {
    my ($pid, %secret) = @_;
    my %found;
    no warnings 'portable';
    open my $mem, '<:raw', "/proc/$pid/mem" or return 'memory cannot be read';
    for my $line (split /\n/, DaemonLab::slurp("/proc/$pid/maps")) {
        my ($from, $to, $name) = $line =~ /^(\w+)-(\w+) rw\S* \S+ \S+ \d+ *(.*)/ or next;
        my ($at, $n) = (hex $from, hex($to) - hex $from);
        while ($n > 0) { # reserved but never written ranges read as zeros or not at all
            my $want = $n > 1 << 24 ? 1 << 24 : $n;
            sysseek $mem, $at, 0 or last;
            my $got = sysread $mem, my $bytes, $want or last;
            for (keys %secret) { $found{$_} = 1 if index($bytes, $secret{$_}) >= 0 }
            $at += $got;
            $n -= $got;
        }
    }
    return join ' ', sort keys %found;
}

sub children_of { my ($pid) = @_; return split ' ', DaemonLab::slurp("/proc/$pid/task/$pid/children") }
sub is_signer { my ($pid) = @_; return DaemonLab::slurp("/proc/$pid/status") =~ /^NoNewPrivs:\s+1$/m }

# (acceptor, signer), once both are there.
sub processes {
    my ($lab) = @_;
    my @pids;
    $lab->wait_for(sub {
        for my $pid (children_of($lab->{daemon})) { my ($s) = grep { is_signer($_) } children_of($pid); @pids = ($pid, $s) if $s }
        return @pids;
    }) or die "no signer\n";
    return @pids;
}

# A client in TLS that stays: what it printed of the handshake until the server's first answer inside.
sub tls_client {
    my ($lab, @options) = @_;
    my $pid = open3(my $in, my $out, undef, 'openssl', 's_client', '-starttls', 'smtp', '-connect', "127.0.0.1:$lab->{port}", '-crlf', @options);
    push @{ $lab->{pids} }, $pid;
    my $c = { io => $out, in => $in, pid => $pid, text => '' };
    syswrite $in, "NOOP\n";
    my $end = time + 15;
    while ($c->{text} !~ /^250 OK\r?$/m && time < $end && IO::Select->new($out)->can_read($end - time)) {
        sysread($out, $c->{text}, 65536, length $c->{text}) or last;
    }
    $c->{ok} = $c->{text} =~ /^250 OK\r?$/m;
    return $c;
}

sub leave_tls { my ($lab, $c) = @_; close $c->{in}; close $c->{io}; kill 'TERM', $c->{pid}; waitpid $c->{pid}, 0; @{ $lab->{pids} } = grep { $_ != $c->{pid} } @{ $lab->{pids} } }

sub try_tls { my ($lab, @options) = @_; my $c = tls_client($lab, @options); leave_tls($lab, $c); return $c }
sub subject { my ($c) = @_; return $c->{text} =~ /subject=.*CN ?= ?(\S+)/ ? $1 : "none: $c->{text}" }

my @rsa = ('-sigalgs', 'rsa_pss_rsae_sha256:RSA+SHA256');
my @ecdsa = ('-sigalgs', 'ECDSA+SHA256');
my %handshakes = (
    'TLS 1.3, ECDSA' => ['-tls1_3', @ecdsa],
    'TLS 1.3, RSA' => ['-tls1_3', @rsa],
    'TLS 1.2, ECDHE, ECDSA' => ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
    'TLS 1.2, ECDHE, RSA' => ['-tls1_2', '-cipher', 'ECDHE-RSA-AES256-GCM-SHA384'],
    'TLS 1.2, DHE, RSA' => ['-tls1_2', '-cipher', 'DHE-RSA-AES256-GCM-SHA384'],
    'TLS 1.2, key exchange by RSA' => ['-tls1_2', '-cipher', 'AES256-GCM-SHA384'],
    'TLS 1.1' => ['-tls1_1', '-cipher', 'ECDHE-RSA-AES256-SHA@SECLEVEL=0'],
);

sub start_with_pairs {
    my ($lab, %o) = @_;
    make_pair($lab, 'e', 'ec', 'old.test');
    make_pair($lab, 'r', 'rsa', 'old.test');
    $lab->start(%o, tls => "tls_advertise_hosts = *\ntls_certificate = $lab->{dir}/e.pem : $lab->{dir}/r.pem\n"
        . "tls_privatekey = $lab->{dir}/e.key : $lab->{dir}/r.key\ntls_require_ciphers = NORMAL:+VERS-TLS1.1:+RSA:%COMPAT\n" . ($o{tls} // ''));
}

part('private keys are in one process' => sub {
    my ($lab) = @_;
    start_with_pairs($lab);
    my ($acceptor, $signer) = processes($lab);
    my %held;
    for my $name (sort keys %handshakes) {
        $held{$name} = tls_client($lab, @{ $handshakes{$name} });
        check("handshake with $name", $held{$name}{ok}, $held{$name}{text});
    }
    my %keys = (ECDSA => { secrets("$lab->{dir}/e.key") }, RSA => { secrets("$lab->{dir}/r.key") });
    my @sessions = grep { $_ != $signer } children_of($acceptor);
    is('each has a session', scalar @sessions, scalar keys %handshakes);
    for my $kind (sort keys %keys) {
        check("the signer has the $kind key", found_in($signer, %{ $keys{$kind} }) =~ /wards/, found_in($signer, %{ $keys{$kind} }));
        is("the acceptor has nothing of the $kind key", found_in($acceptor, %{ $keys{$kind} }), '');
        is("session $_ has nothing of the $kind key", found_in($_, %{ $keys{$kind} }), '') for @sessions;
    }
    my ($public) = DaemonLab::slurp("$lab->{dir}/e.pem") =~ /CERTIFICATE-----\n(.*?)-----/s;
    my $der = unpack 'u', join '', map { my $l = $_; $l =~ tr{A-Za-z0-9+/}{ -_}; chr(32 + length($_) * 3 / 4) . "$l\n" } grep { length == 64 } split /\n/, $public;
    my $held = found_in($sessions[0], certificate => substr $der, 40, 60);
    is('the search finds what is there: the certificate', $held, 'certificate');
    my @with_libcrypto = grep { DaemonLab::slurp("/proc/$_/maps") =~ /libcrypto/ } $signer, $acceptor, @sessions;
    is('libcrypto, which makes the RSA signatures, is loaded in the signer only', "@with_libcrypto", $signer);
    leave_tls($lab, $_) for values %held;
    my @fds = map { readlink } glob "/proc/$signer/fd/*";
    is('the signer has its socket open and nothing else', join(' ', map { s/:.*//r } sort @fds), '/dev/null /dev/null /dev/null socket');
    is('it is the Exim user', join(' ', DaemonLab::slurp("/proc/$signer/status") =~ /^Uid:\s+(\d+)\s+(\d+)\s+(\d+)/m), join ' ', ((getpwnam 'mail')[2]) x 3);
});

part('the signer dies' => sub {
    my ($lab) = @_;
    start_with_pairs($lab, main => "smtp_accept_max = 2\nsmtp_accept_queue = 2\n");
    my ($acceptor, $signer) = processes($lab); # it may be killed while the acceptor waits for the certificates
    for my $round (1 .. 3) {
        kill 'KILL', $signer;
        my $c = try_tls($lab, '-tls1_3', @ecdsa);
        check("round $round: a handshake that comes at once waits for the next signer", $c->{ok}, $c->{text});
        (my $same, $signer) = processes($lab);
        is("round $round: the acceptor is the same", $same, $acceptor);
        $lab->wait_for(sub { my @s = grep { $_ != $signer } children_of($acceptor); !@s });
    }
    check('the log has it', $lab->log_has(qr/daemon: the process that holds the private keys of TLS \(pid \d+\) ended: starting another\n/), $lab->log('main'));
    check('nobody was refused: it is no session', $lab->log('main') !~ /too many/, $lab->log('main'));
    sleep 1.1;
    check('the acceptor has it all again', try_tls($lab, '-tls1_3', @ecdsa)->{ok});
    kill 'STOP', $signer;
    my $began = time;
    my $c = try_tls($lab, '-tls1_3', @ecdsa);
    check('a signer that hangs is a failed handshake', !$c->{ok} && time - $began < 12, sprintf "%.1f s: %s", time - $began, $c->{text});
    check('and a line in the log', $lab->log_has(qr/TLS error on connection from .*\(signer\): the process that holds the private keys does not answer\n/), $lab->log('main'));
    kill 'CONT', $signer;
    $lab->wait_for(sub { my @s = grep { $_ != $signer } children_of($acceptor); !@s });
    check('when it goes on handshakes work', try_tls($lab, '-tls1_3', @rsa)->{ok});
    kill 'TERM', $signer;
    check('TERM does not end it', !$lab->wait_for(sub { !kill 0, $signer }, 0.3));
    $lab->stop;
    check('it ends with the daemon', $lab->wait_for(sub { DaemonLab::slurp("/proc/$signer/status") !~ /^State:\s+[^Z]/m }, 10), DaemonLab::slurp("/proc/$signer/status"));
});

part('changed files and the signer' => sub {
    my ($lab) = @_;
    start_with_pairs($lab);
    my $held = tls_client($lab, '-tls1_3', @ecdsa);
    is('the old certificate', subject($held), 'old.test');
    sleep 1.1;
    make_pair($lab, 'e', 'ec', 'new.test');
    is('the new pair at the next connection', subject(try_tls($lab, '-tls1_3', @ecdsa)), 'new.test');
    my %kept = map { $_ => DaemonLab::slurp("$lab->{dir}/e.$_") } qw(key pem);
    make_pair($lab, 'e', 'ec', 'newer.test');
    my %newer = map { $_ => DaemonLab::slurp("$lab->{dir}/e.$_") } qw(key pem);
    DaemonLab::spew("$lab->{dir}/e.key", $kept{key});
    sleep 1.1;
    $lab->{panic_ok} = 1;
    my $c = try_tls($lab, '-tls1_3', @ecdsa);
    is('a certificate whose key is not there yet: the old pair', subject($c), 'new.test');
    check('and it works', $c->{ok}, $c->{text});
    check('and the log says so', $lab->log_has(qr/TLS: changed files cannot be used, the old ones stay in use: \(cert\/key setup: cert=\S*e.pem key=\S*e.key\): /), $lab->log('main'));
    DaemonLab::spew("$lab->{dir}/e.key", $newer{key});
    sleep 1.1;
    is('its key comes', subject(try_tls($lab, '-tls1_3', @ecdsa)), 'newer.test');
    make_pair($lab, 'e', 'ec', 'newest.test');
    DaemonLab::spew("$lab->{dir}/e.pem", $newer{pem});
    sleep 1.1;
    $c = try_tls($lab, '-tls1_3', @ecdsa);
    check('a key before its certificate: the old pair', $c->{ok} && subject($c) eq 'newer.test', $c->{text});
    leave_tls($lab, $held);
    is('handshakes after that', try_tls($lab, '-tls1_2', @rsa)->{ok} ? 'work' : 'fail', 'work');
});

part('key and certificate in one file, self-signed pairs' => sub {
    my ($lab) = @_;
    make_pair($lab, 'r', 'rsa', 'one.test');
    DaemonLab::spew("$lab->{dir}/both", DaemonLab::slurp("$lab->{dir}/r.key") . DaemonLab::slurp("$lab->{dir}/r.pem"));
    $lab->start(tls => "tls_advertise_hosts = *\ntls_certificate = $lab->{dir}/both\n");
    my ($acceptor, $signer) = processes($lab);
    my $c = tls_client($lab);
    is('one file', subject($c), 'one.test');
    my ($session) = grep { $_ != $signer } children_of($acceptor);
    my %secret = secrets("$lab->{dir}/r.key");
    is('nothing of the key in the acceptor', found_in($acceptor, %secret), '');
    is('nor in the session', found_in($session, %secret), '');
    leave_tls($lab, $c);
    $lab->stop;
    $lab->start(tls => 'tls_advertise_hosts = *');
    ($acceptor, $signer) = processes($lab);
    is('self-signed', subject(try_tls($lab)), 'mx.test');
    kill 'KILL', $signer;
    $lab->wait_for(sub { !-e "/proc/$signer" });
    check('the next signer has another such key, and its certificate is used', try_tls($lab)->{ok});
    $lab->stop;
    $lab->start(tls => "tls_advertise_hosts = *\ntls_certificate = \${if eq{1}{1}{$lab->{dir}/both}}\n");
    check('options that are expanded: handshakes', try_tls($lab)->{ok});
    is('and no signer', scalar(grep { is_signer($_) } map { children_of($_) } children_of($lab->{daemon})), 0);
});

part('200 handshakes at once' => sub {
    my ($lab) = @_;
    my $smtpload = ($ENV{BUILD} // "$main::lab_options->{top}/build") . '/test/bin/smtpload';
    return check('smtpload is not built: not tested', 1) if !-x $smtpload;
    start_with_pairs($lab, main => "smtp_accept_max = 0\nsmtp_connect_backlog = 400\nqueue_only\n", acl => "  discard local_parts = gone\n");
    my $said = `$smtpload -S -c 200 -n 1000 -m 1 -t gone\@local.test 127.0.0.1 $lab->{port} </dev/null 2>&1`;
    check('all are served', $said =~ /^ok 1000 bad 0 /, $said);
});
1;

# SPDX-License-Identifier: GPL-2.0-or-later
# What users of the machine, slow peers and a full disk can do to the mail of others: nothing.
use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

sub delivered { my ($lab, $who) = @_; return scalar(() = $lab->log('main') =~ /=> \Q$who\E /g) }


# ---- the queue manager's processes -----------------------------------------------------------------------------------

part('deliveries that wait' => sub {
    my ($lab) = @_;
    $lab->start(routers => "slow:\n  driver = accept\n  local_parts = slow\n  transport = sleeper\n",
        transports => "sleeper:\n  driver = pipe\n  command = /bin/sleep 25\n  user = games\n");
    my $c = $lab->client;
    $lab->say($c, 'EHLO client.test');
    for (1 .. 22) {
        $lab->say($c, 'MAIL FROM:<a@b.test>');
        $lab->say($c, 'RCPT TO:<slow@local.test>');
        $lab->say($c, 'DATA');
        $lab->say($c, "Subject: x\r\n\r\nbody\r\n.");
    }
    $lab->send_message('a@b.test', 'box@local.test');
    check('a user whose commands sleep does not stop the mail of others', $lab->log_has(qr/=> box /, 15), $lab->log('main'));
    is('he had to wait for his own', delivered($lab, 'slow'), 0);
});

# The manual, ch. 55: what reads a stranger's input and delivers nothing is the Exim user, for good.
part('testing without root' => sub {
    my ($lab) = @_;
    my $who = '${if match{${readfile{/proc/self/status}}}{\\N\\nUid:\\s+(\\d+)\\s+(\\d+)\\s+(\\d+)\\s\\N}{$1 $2 $3}}';
    $lab->write_configuration(acl => "  deny message = ids $who\n", routers => "who:\n  driver = redirect\n  local_parts = who\n  allow_fail\n  data = :fail: ids $who\n");
    my $mail = getpwnam 'mail';
    my $got = $lab->exim("HELO c.test\r\nMAIL FROM:<a\@b.test>\r\nRCPT TO:<who\@local.test>\r\nQUIT\r\n", '-bh', '192.0.2.1');
    check('-bh', $got =~ /^550 ids $mail $mail $mail\r?$/m, $got);
    $got = $lab->exim('', '-bv', 'who@local.test');
    check('-bv', $got =~ /ids $mail $mail $mail$/m, $got);
    $got = $lab->exim('', '-bt', 'who@local.test');
    check('-bt routes with the rights of a delivery', $got =~ /ids \d+ $mail 0$/m, $got);
});

# ---- files of users --------------------------------------------------------------------------------------------------

part('forward files' => sub {
    my ($lab) = @_;
    my $home = "$lab->{dir}/home";
    mkdir $home or die;
    DaemonLab::spew("$home/real", "joe\@far.test\n");
    DaemonLab::spew("$home/secret", "gone\@far.test\n");
    symlink 'real', "$home/.forward-link" or die;
    symlink 'secret', "$home/.forward-secret" or die;
    symlink '/dev/zero', "$home/.forward-device" or die;
    POSIX::mkfifo("$home/.forward-pipe", 0600) or die;
    chown((getpwnam 'games')[2, 3], glob("$home/* $home/.forward-*"));
    chown 0, 0, "$home/secret";
    chmod 0600, "$home/secret";
    $lab->write_configuration(routers => <<"ROUTER");
forward:
  driver = redirect
  domains = local.test
  local_part_suffix = -*
  check_local_user
  file = $home/.forward\${if match{\$local_part_suffix}{link}{-link}{\${if match{\$local_part_suffix}{secret}{-secret}{\${if match{\$local_part_suffix}{device}{-device}{-pipe}}}}}}
ROUTER
    my %want = (
        link => qr/^joe\@far\.test\n/m,
        secret => qr/cannot be resolved at this time: failed to open .*: Permission denied/,
        device => qr/cannot be resolved at this time: .* is not a regular file/,
        pipe => qr/cannot be resolved at this time: .* is not a regular file/,
    );
    for my $kind (sort keys %want) {
        my $got = $lab->exim('', '-bt', "games-$kind\@local.test");
        check("a $kind", $got =~ $want{$kind}, $got);
    }
});

part('commands' => sub {
    my ($lab) = @_;
    my $busy = "$lab->{dir}/busy";
    my $victim = "$lab->{dir}/spool/victim";
    DaemonLab::spew($victim, 'x');
    chown((getpwnam 'mail')[2, 3], $victim);
    system('cp', '/bin/true', $busy) == 0 or die;
    chmod 0755, $busy;
    open my $writer, '>>', $busy or die;
    $lab->write_configuration(routers => "busy:\n  driver = accept\n  local_parts = busy\n  transport = busy\n"
          . "shadowed:\n  driver = accept\n  local_parts = shadowed\n  transport = shadowed\n",
        transports => "busy:\n  driver = pipe\n  command = $busy\n  user = games\n"
          . "shadowed:\n  driver = appendfile\n  file = $lab->{dir}/mail/shadowed\n  user = games\n  shadow_transport = shadow\n"
          . "shadow:\n  driver = pipe\n  command = /bin/printf $victim\n  log_output\n  user = games\n");
    $lab->exim("Subject: x\n\nx\n", '-odf', 'busy@local.test');
    check('one that is being written is tried again', $lab->log('main') =~ /== busy\@local\.test .*Text file busy/, $lab->log('main'));
    close $writer;
    $lab->exim('', '-qff');
    is('and runs later', delivered($lab, 'busy'), 1);
    $lab->exim("Subject: x\n\nx\n", '-odf', 'shadowed@local.test');
    check('the shadow has run', $lab->log('main') =~ /=> shadowed .* ST=shadow/, $lab->log('main'));
    check('what it says is no name of a file to remove', -e $victim);
});

part('pid file' => sub {
    my ($lab) = @_;
    $lab->start;
    my $path = "$lab->{dir}/spool/exim-daemon.pid";
    check('written', $lab->wait_for(sub { DaemonLab::slurp($path) eq "$lab->{daemon}\n" }));
    DaemonLab::spew($path, "1\n");
    $lab->stop;
    is('that of another daemon stays', DaemonLab::slurp($path), "1\n");
});

# ---- a full disk -----------------------------------------------------------------------------------------------------

part('full disk' => sub {
    my ($lab) = @_;
    my ($input, $note) = ("$lab->{dir}/spool/input", "$lab->{dir}/far");
    my @mail = (getpwnam 'mail')[2, 3];
    mkdir $input or die;
    if (system('mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', $input) != 0) { print "no tmpfs: skipped\n"; return }
    chown @mail, $input;
    $lab->sink(2626, $note);
    $lab->write_configuration;
    my @ids;
    for my $recipients (['one@far.test', 'box@local.test'], ['two@far.test']) {
        $lab->exim("Subject: x\n\nx\n", '-odq', @$recipients);
        $lab->log('main') =~ /.* (\S+) <= .*/s and push @ids, $1;
    }
    open my $filler, '>', "$input/filler" or die;
    1 while syswrite $filler, 'x' x 4096;
    close $filler;
    $lab->exim('', '-M', $ids[0]) for 1 .. 3;
    is('nothing that could not be noted was sent', scalar(() = DaemonLab::slurp($note) =~ /^RCPT TO:<one/mg) + delivered($lab, 'box'), 0);
    $lab->exim('', '-M', $ids[1]);
    is('what needs no note was sent once', scalar(() = DaemonLab::slurp($note) =~ /^RCPT TO:<two/mg), 1);
    check('and is completed', $lab->log('main') =~ /=> two\@far\.test .*\n(.*\n)*?.* Completed/, $lab->log('main'));
    unlink "$input/filler";
    $lab->exim('', '-qff') for 1 .. 2;
    is('all arrives once there is room', join(' ', scalar(() = DaemonLab::slurp($note) =~ /^RCPT TO:<(one|two)/mg), delivered($lab, 'box')), '2 1');
    is('the queue is empty', $lab->exim('', '-bpc'), "0\n");
    check('the panic log tells of it', $lab->log('panic') =~ /no room for the journal: No space left on device/, $lab->log('panic'));
    $lab->{panic_ok} = 1;
    system('umount', $input);
});

# ---- a report about a message, and the message -----------------------------------------------------------------------

# With -odf the report is delivered by the process that is still at the message.  The report's connection takes along what waits for the host.
part('a report on the way to where the message waits' => sub {
    my ($lab) = @_;
    my $note = "$lab->{dir}/far";
    $lab->sink(2626, $note);
    $lab->write_configuration(main => 'queue_smtp_domains = held.test',
        routers => "held:\n  driver = manualroute\n  domains = held.test\n  route_list = * 127.0.0.1\n  self = send\n  transport = smtp\n");
    $lab->exim("Subject: x\n\nx\n", '-odf', '-f', 'sender@far.test', 'one@held.test', 'fails@bad.test', 'two@held.test');
    my $count = sub { my ($who) = @_; return scalar(() = DaemonLab::slurp($note) =~ /^RCPT TO:<\Q$who\E>/mg) };
    is('the report is out, the message is not taken along', join(' ', map { $count->($_) } qw(sender@far.test one@held.test two@held.test)), '1 0 0');
    $lab->exim('', '-qff');
    is('all arrives once', join(' ', map { $count->($_) } qw(sender@far.test one@held.test two@held.test)), '1 1 1');
    is('the queue is empty', $lab->exim('', '-bpc'), "0\n");
});

# ---- a connection of a user's own ------------------------------------------------------------------------------------

part('-bs with a connection of a user' => sub {
    my ($lab) = @_;
    $lab->write_configuration(acl => "  accept message = from \$sender_host_address\n");
    my $run = sub {
        my ($port, $uid) = @_;
        my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1) or die "listen: $!";
        my $ours = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $l->sockport) or die "connect: $!";
        my $theirs = $l->accept;
        my $pid = fork // die;
        if (!$pid) {
            POSIX::dup2(fileno $theirs, 0);
            POSIX::dup2(fileno $theirs, 1);
            open STDERR, '>', "$lab->{dir}/err";
            POSIX::setgid($uid);
            POSIX::setuid($uid);
            exec { $lab->{exim} } $lab->{exim}, '-C', "$lab->{dir}/conf", '-bs' or POSIX::_exit(127);
        }
        close $theirs;
        my $greeting = <$ours> // '';
        close $ours;
        waitpid $pid, 0;
        return $greeting =~ /^220/ ? 'taken' : DaemonLab::slurp("$lab->{dir}/err");
    };
    is('root, high port', $run->(0, 0), 'taken');
    is('an ordinary user, high port', $run->(0, 65534), "exim: Permission denied (unprivileged user, unprivileged port)\n");
    chmod 0755, $lab->{dir};
    is('an ordinary user, low port', $run->(725, 65534), 'taken');
    $lab->{panic_ok} = 1; # that user cannot write to the logs
});

# ---- callers of the set-uid program ----------------------------------------------------------------------------------

# The program as it is installed, below an overlay that only this mount namespace sees; undef where that cannot be had.
sub install_setuid {
    my ($lab) = @_;
    my ($path) = `$lab->{exim} -bV 2>&1` =~ m{non-existent configuration file\(s\): (/usr/\S+/configure)} or return;
    my ($over, $target) = ("$lab->{dir}/over", $path =~ s{/configure$}{}r);
    mkdir $over or die;
    return if system('mount', '-t', 'tmpfs', 'tmpfs', $over) != 0;
    mkdir "$over/$_" or die for qw(up work);
    return if system("mount -t overlay overlay -o lowerdir=/usr,upperdir=$over/up,workdir=$over/work /usr 2>/dev/null") != 0;
    system('mkdir', '-p', $target) == 0 && system('cp', $lab->{exim}, "$target/exim") == 0 && system('cp', "$lab->{dir}/conf", $path) == 0 or die;
    chmod 04755, "$target/exim";
    return "$target/exim";
}

# As the user games, in a shell.
sub as_games {
    my ($lab, $command) = @_;
    my ($uid, $gid) = (getpwnam 'games')[2, 3];
    my $pid = open(my $out, '-|') // die "fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        POSIX::setgid($gid);
        POSIX::setuid($uid);
        exec '/bin/sh', '-c', $command or POSIX::_exit(127);
    }
    local $/;
    my $text = <$out> // '';
    close $out;
    return $text;
}

# A terminal of its own for each command, as games, in a shell with job control: (master, pid).
sub on_terminal {
    my ($lab, $command) = @_;
    open my $master, '+<', '/dev/ptmx' or return;
    my ($unlock, $number) = (pack('i', 0), pack('i', 0));
    ioctl $master, 0x40045431, $unlock or return; # TIOCSPTLCK
    ioctl $master, 0x80045430, $number or return; # TIOCGPTN
    my $name = '/dev/pts/' . unpack 'i', $number;
    chown((getpwnam 'games')[2, 3], $name);
    my $pid = fork // die;
    return ($master, $pid) if $pid;
    close $master;
    POSIX::setsid();
    my ($uid, $gid) = (getpwnam 'games')[2, 3];
    POSIX::setgid($gid);
    POSIX::setuid($uid);
    open my $tty, '+<', $name or POSIX::_exit(1);
    POSIX::dup2(fileno $tty, $_) for 0 .. 2;
    exec '/bin/bash', '--norc', '-mc', $command or POSIX::_exit(127);
}

# The keys ^Z and ^C while a mailbox is being written to: a shadow transport says so, and waits for a word of ours.
sub keys_of_the_terminal {
    my ($lab, $exim, $mail) = @_;
    my ($begun, $go) = ("$lab->{dir}/spool/begun", "$lab->{dir}/spool/go");
    my ($tty, $pid) = on_terminal($lab, "$mail | $exim -odf held\@local.test; exit 0");
    if (!$tty) { print "no terminals: skipped\n"; return }
    check('a delivery of theirs has begun', $lab->wait_for(sub { -e $begun }), $lab->log('main'));
    syswrite $tty, "\x1a\x03";
    DaemonLab::spew($go, '');
    check('the keys of their terminal do not stop it', $lab->log_has(qr/=> held /, 15) && $lab->log_has(qr/ Completed/, 15), $lab->log('main'));
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

part('set-uid' => sub {
    my ($lab) = @_;
    $lab->write_configuration(main => "acl_not_smtp = slow\nadmin_groups =\n", acl => "  accept\nslow:\n  accept continue = \${run{/bin/sleep 2}}\n",
        routers => "held:\n  driver = accept\n  local_parts = held\n  transport = held\n",
        transports => "held:\n  driver = appendfile\n  user = mail\n  file = \${if eq{\${run{/bin/sh -c \"touch $lab->{dir}/spool/begun; until test -e $lab->{dir}/spool/go; do sleep 0.1; done\"}}}{}{$lab->{dir}/spool/held}}\n");
    my $exim = install_setuid($lab);
    if (!$exim) { print "no overlay: skipped\n"; return }
    my $mail = 'printf "Subject: x\n\nbody\n"';
    my $got = as_games($lab, "($mail | $exim -odf box\@local.test; echo end) & for i in \$(seq 200); do pgrep -f '^/bin/sleep 2\$' >/dev/null && break; sleep 0.05; done; for p in \$(pgrep -u mail exim); do kill -STOP \$p && echo stopped; done; wait");
    check('its caller cannot stop it', $got =~ /^end$/m && $got !~ /stopped/, $got);
    is('the mail arrives', delivered($lab, 'box'), 1);
    $got = as_games($lab, "ulimit -f 1; $mail | $exim -odf box\@local.test");
    my $is_lifted = $got !~ /cannot be lifted/;
    is('a limit on the size of files is lifted, or nothing is done', delivered($lab, 'box') . scalar(() = $lab->log('main') =~ / <= /g), $is_lifted ? '22' : '11');
    is('nothing is left over', join(' ', glob "$lab->{dir}/spool/input/*"), '');
    keys_of_the_terminal($lab, $exim, $mail);
    system('umount', '-l', $_) for '/usr', "$lab->{dir}/over";
    $lab->{panic_ok} = 1;
});

# Who goes on talking while acl_smtp_helo takes its time is not answered.  The ACL asks a server here, which answers when the client has talked.
part('input while acl_smtp_helo is at work' => sub {
    my ($lab) = @_;
    my ($asked, $talked) = map { "$lab->{dir}/$_" } qw(asked talked);
    $lab->serve(2727, sub {
        my ($s) = @_;
        DaemonLab::spew($asked, '');
        $lab->wait_for(sub { -e $talked });
        print $s "go\n";
    });
    for my $row (['EHLO, no early pipelining', "pipelining_connect_advertise_hosts =\n", 'EHLO', 0],
        ['HELO, early pipelining for all', '', 'HELO', 0],
        ['EHLO, early pipelining for all', '', 'EHLO', 1]) {
        my ($name, $main, $verb, $is_good) = @$row;
        my $only = $main ? ".ifdef _HAVE_PIPE_CONNECT\n$main.endif\n" : '';
        next if $is_good && $lab->exim('', '-bP', 'macro', '_HAVE_PIPE_CONNECT') !~ /y/;
        unlink $asked, $talked;
        $lab->start(main => "${only}acl_smtp_helo = ask\n", acl => "  accept\nask:\n  accept set acl_c_x = \${readsocket{inet:127.0.0.1:2727}{x}{20s}}\n");
        my $c = $lab->client;
        syswrite $c->{io}, "$verb client.test\r\n";
        check("$name: the ACL is at work", $lab->wait_for(sub { -e $asked }));
        syswrite $c->{io}, "MAIL FROM:<a\@far.test>\r\n";
        DaemonLab::spew($talked, '');
        my $first = $lab->reply($c) // '';
        is("$name: the reply", $first =~ /^(\d+)/, $is_good ? '250' : '554');
        check("$name: MAIL", ($lab->reply($c) // '') =~ ($is_good ? qr/^250 / : qr/^$/));
        my $line = qr/synchronization error \(next input sent too soon: pipelining was not advertised\): rejected "$verb client.test" H=\(client.test\) \[127\.0\.0\.1\]/;
        check("$name: the log", $lab->log('reject') =~ $line, $lab->log('reject')) if !$is_good;
        kill 'TERM', $lab->{daemon};
        waitpid $lab->{daemon}, 0;
    }
});
1;

# SPDX-License-Identifier: GPL-2.0-or-later
# smtp_connections_per_process: one process serves several connections, one after the other, and none of them learns anything of the one before.
use strict;
use warnings;
use Time::HiRes qw(time sleep);

my $say_all = '${pid}/${acl_c_mark}/${acl_m_mark}/${sender_helo_name}/${authenticated_id}/${tls_in_cipher}/${sender_ident}';

# The configuration's VRFY tells the process and what it knows of its client.
sub start_reuse {
    my ($lab, $n, %o) = @_;
    my $main = "smtp_connections_per_process = $n\nacl_smtp_vrfy = tell\nacl_smtp_expn = accept\nlog_selector = +smtp_connection +pid\n" . ($o{main} // '');
    my $tell = "tell:\n  warn message = \n       condition = \${if def:acl_c_mark{no}{no}}\n  deny message = $say_all\n" . ($o{acls} // '');
    $lab->start(%o, main => $main, acl => ($o{acl} // '') . "  accept\n$tell");
}

sub facts { my ($lab, $c) = @_; my ($text) = ($lab->say($c, 'VRFY x@local.test') // '') =~ /^\d\d\d (.*)/; return split m{/}, $text // '', -1 }
sub bye { my ($lab, $c) = @_; my $r = $lab->say($c, 'QUIT') // ''; 1 while sysread $c->{io}, my $rest, 100; close $c->{io}; return $r }

# One connection: which process served it.
sub visit {
    my ($lab, @lines) = @_;
    my $c = $lab->client;
    $lab->say($c, $_) for @lines;
    my ($pid) = facts($lab, $c);
    bye($lab, $c);
    return $pid // '';
}
# The same in TLS, and how many descriptors the process has meanwhile.
sub tls_visit {
    my ($lab) = @_;
    my $c = tls_client($lab);
    my ($text, $found, $end) = ('', undef, time + 10);
    syswrite $c->{in}, "VRFY x\@local.test\n";
    while (!$found && IO::Select->new($c->{io})->can_read($end - time)) {
        sysread $c->{io}, $text, 65536, length $text or last;
        ($found) = $text =~ m{^252 (\d+)/}m;
    }
    my $n = $found ? () = glob("/proc/$found/fd/*") : 0;
    syswrite $c->{in}, "quit\n"; # Q is for the client itself
    while (IO::Select->new($c->{io})->can_read(5)) { sysread $c->{io}, $text, 65536, length $text or last }
    leave_tls($lab, $c);
    return { pid => $found // '', descriptors => $n };
}
sub is_running { my ($pid) = @_; return kill(0, $pid) && DaemonLab::slurp("/proc/$pid/status") !~ /^State:\s+Z/m }
# The session has ended, and its process sleeps.  So does the acceptor behind it, which means that it has heard of the end: on a busy machine both
# may have to wait for their turn.
sub settle {
    my ($lab, $pid) = @_;
    my ($acceptor) = DaemonLab::slurp("/proc/$pid/stat") =~ /\) \S (\d+) /;
    for (1 .. 2) {
        sleep 0.08;
        for my $p ($pid, $acceptor // ()) { $lab->wait_for(sub { DaemonLab::slurp("/proc/$p/stat") !~ /\) [RD] / }) }
    }
}

part('connections in one process' => sub {
    my ($lab) = @_;
    start_reuse($lab, 3);
    my @pids = map { my $p = visit($lab); settle($lab, $p); $p } 1 .. 7;
    is('three connections each', "$pids[0] $pids[0] $pids[0] $pids[3] $pids[3] $pids[3]", join ' ', @pids[0 .. 5]);
    check('then another process', $pids[0] ne $pids[3] && $pids[3] ne $pids[6], "@pids");
    check('which ends when it has served its number', $lab->wait_for(sub { !is_running($pids[0]) && !is_running($pids[3]) }));
    my @both = map { $lab->client } 1, 2;
    my @now = map { (facts($lab, $_))[0] } @both;
    check('two at once have two processes', $now[0] ne $now[1], "@now");
    bye($lab, $_) for @both;
    my $log = $lab->log('main');
    check('the connections are counted as they are', $log =~ /\(TCP\/IP connection count = 2\)/ && $log !~ /connection count = 3\)/, $log);
    my $idle = is_running($now[0]) || is_running($now[1]);
    check('one still waits', $idle);
    $lab->stop;
    check('none is left behind', $lab->wait_for(sub { !grep { is_running($_) } @now, $pids[6] }));
});

part('a connection knows nothing of the one before' => sub {
    my ($lab) = @_;
    DaemonLab::spew("$lab->{dir}/table", "key: one\n");
    chmod 0644, "$lab->{dir}/table";
    start_reuse($lab, 50, acls => <<"ACL", main => "acl_smtp_helo = mark\nacl_smtp_mail = look\nacl_smtp_connect = unmarked\n", rest => <<'AUTH');
mark:
  accept set acl_c_mark = c\${sender_helo_name}
         set acl_m_mark = m\${sender_helo_name}
look:
  deny message = \${lookup{key}lsearch{$lab->{dir}/table}}/\${acl_c_mark}/\${acl_m_mark}/\$sender_address
unmarked:
  deny condition = \${if or{{def:acl_c_mark}{def:acl_m_mark}{def:sender_address}{def:authenticated_id}{def:sender_helo_name}{def:message_exim_id}}}
       message = something was left: \$acl_c_mark \$acl_m_mark \$sender_address \$authenticated_id \$sender_helo_name \$message_exim_id
  accept
ACL
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if eq{$auth3}{right}}
  server_set_id = $auth2
  server_advertise_condition = true
AUTH
    my $c = $lab->client;
    $lab->say($c, 'EHLO first.test');
    check('the first authenticates', ($lab->say($c, 'AUTH PLAIN AGphY2sAcmlnaHQ=') // '') =~ /^235/);
    my @first = facts($lab, $c);
    is('and is known', join('/', @first[1, 3, 4]), 'cfirst.test/first.test/jack');
    is('the table as it is', $lab->say($c, 'MAIL FROM:<a@b.test>') =~ s/^550 //r, 'one/cfirst.test//a@b.test');
    bye($lab, $c);
    settle($lab, $first[0]);
    DaemonLab::spew("$lab->{dir}/table", "key: two\n");
    my $d = $lab->client;
    check('the next is greeted', $d->{greeting} =~ /^220 /, $d->{greeting});
    my @second = facts($lab, $d);
    is('the same process', $second[0], $first[0]);
    is('knows nothing', join('/', @second[1 .. 6]), '/////');
    is('asks for HELO as ever', $lab->say($d, 'MAIL FROM:<a@b.test>'), '503 HELO or EHLO required');
    $lab->say($d, 'EHLO second.test');
    is('and finds the table changed', $lab->say($d, 'MAIL FROM:<a@b.test>') =~ s/^550 //r, 'two/csecond.test//a@b.test');
    close $d->{io}; # without QUIT, in the middle
    settle($lab, $first[0]);
    my $e = $lab->client;
    check('a lost connection leaves nothing', $e->{greeting} =~ /^220 /, $e->{greeting});
    bye($lab, $e);
});

part('mail through processes that are used again' => sub {
    my ($lab) = @_;
    start_reuse($lab, 20, tls => "tls_advertise_hosts = *\n");
    my @replies = map { $lab->send_message("s$_\@far.test", 'box@local.test') } 1 .. 30;
    is('thirty are taken', scalar(grep { ($_ // '') =~ /^250 OK id=/ } @replies), 30);
    my %ids = map { /id=(\S+)/ ? ($1 => 1) : () } @replies;
    is('under thirty names', scalar keys %ids, 30);
    check('and delivered', $lab->wait_for(sub { 30 == (() = $lab->log('main') =~ / Completed$/mg) }), $lab->log('main'));
    my %pids = map { $_ => 1 } $lab->log('main') =~ /^\S+ \S+ \[(\d+)\] \S+ <= /mg;
    check('by two or three processes', keys(%pids) >= 2 && keys(%pids) <= 4, join ' ', keys %pids);
    my $halves = 0;
    for (1 .. 5) { # a message that does not come to its end
        my $c = $lab->client;
        $lab->say($c, $_) for 'EHLO c.test', 'MAIL FROM:<a@far.test>', 'RCPT TO:<box@local.test>', 'DATA';
        syswrite $c->{io}, "half of";
        close $c->{io};
    }
    check('what was not whole is nowhere', $lab->wait_for(sub { !glob("$lab->{dir}/spool/input/*") }), join ' ', glob "$lab->{dir}/spool/input/*");
    check('a message after it is taken', ($lab->send_message('x@far.test', 'box@local.test') // '') =~ /^250 OK id=/);
    my $tls = $lab->client;
    $lab->say($tls, 'EHLO c.test');
    check('TLS is begun', ($lab->say($tls, 'STARTTLS') // '') =~ /^220/);
    syswrite $tls->{io}, "this is no handshake\r\n" x 3;
    close $tls->{io};
    my @tls = map { my $r = tls_visit($lab); settle($lab, $r->{pid}); $r } 1 .. 12;
    check('sessions in TLS', 12 == grep({ $_->{pid} } @tls), join ' ', map { $_->{pid} } @tls);
    my ($most) = sort { $b <=> $a } map { my $p = $_->{pid}; scalar grep { $_->{pid} eq $p } @tls } @tls;
    check('in the same processes', $most > 3, join ' ', map { $_->{pid} } @tls);
    my %held;
    push @{ $held{ $_->{pid} } }, $_->{descriptors} for @tls;
    check('that keep no descriptors', !grep({ my @d = @$_; $d[-1] > $d[0] } values %held), join ' ', map { "@$_" } values %held);
    check('and one after a broken handshake', ($lab->send_message('y@far.test', 'box@local.test') // '') =~ /^250 OK id=/);
    check('all of it arrives', $lab->wait_for(sub { 32 == (() = $lab->log('main') =~ / Completed$/mg) }));
});

part('what ends a process before its time' => sub {
    my ($lab) = @_;
    start_reuse($lab, 50, main => "acl_smtp_helo = run\nsmtp_accept_max_nonmail = 3\nsmtp_accept_max = 2\n", acls => <<'ACL');
run:
  warn condition = ${if eq{$sender_helo_name}{run}}
       set acl_c_x = ${run{/bin/true}}
  warn condition = ${if eq{$sender_helo_name}{debug}}
       control = debug/opts=+acl
  accept
ACL
    my $plain = visit($lab, 'EHLO plain');
    settle($lab, $plain);
    is('a session like others leaves its process to the next', visit($lab, 'EHLO plain'), $plain);
    settle($lab, $plain);
    for my $row (['that ran a command', 'EHLO run'], ['that began a debug log', 'EHLO debug']) {
        my $pid = visit($lab, $row->[1]);
        check("one $row->[0] does not", $lab->wait_for(sub { !is_running($pid) }));
        check('another comes', visit($lab, 'EHLO plain') ne $pid);
        sleep 0.1;
    }
    my $c = $lab->client;
    my ($bad) = facts($lab, $c);
    $lab->say($c, 'NOOP') for 1 .. 6;
    close $c->{io};
    check('nor one that was thrown out', $lab->wait_for(sub { !is_running($bad) }));
    my $killed = $lab->client;
    my ($pid) = facts($lab, $killed);
    kill 'SEGV', $pid;
    check('the crash of one is reported', $lab->wait_for(sub { $lab->log('panic') =~ /SMTP session process $pid for \[127\.0\.0\.1\] died of signal 11/ }), $lab->log('panic'));
    $lab->{panic_ok} = $lab->log('panic') =~ tr/\n// == 1;
    check('and its connection is no longer counted', $lab->wait_for(sub {
        my @two = map { $lab->client } 1, 2;
        my $ok = !grep { $_->{greeting} !~ /^220/ } @two;
        bye($lab, $_) for @two;
        $ok;
    }));
    sleep 0.1;
    my $waiting = visit($lab, 'EHLO plain');
    settle($lab, $waiting);
    kill 'KILL', $waiting;
    sleep 0.1;
    check('one killed while it waits is missed by nobody', visit($lab, 'EHLO plain') ne $waiting);
    my @full = map { $lab->client } 1 .. 3;
    check('smtp_accept_max counts connections, not processes', $full[2]{greeting} =~ /^421 /, $full[2]{greeting});
    bye($lab, $_) for @full[0, 1];
});

# Perl and dlfunc are for builds that have them: this one, or the one for the cases.
sub exim_with {
    my ($lab, $word) = @_;
    for my $exim ($lab->{exim}, "$lab->{top}/build/test-variant/exim") {
        return $exim if -x $exim && `$exim -C /dev/null -bV 2>/dev/null` =~ /^Support for:.* \Q$word\E /m;
    }
    return;
}

# Each connection says HELO, hears what the code has counted, and leaves a process that ends.
sub ends_each_process {
    my ($lab, $what) = @_;
    my @counts;
    for (1 .. 3) {
        my $c = $lab->client;
        my ($pid) = facts($lab, $c);
        push @counts, $lab->say($c, 'HELO count');
        bye($lab, $c);
        check("$what: its process ends", $lab->wait_for(sub { !is_running($pid) }));
    }
    is("$what: no connection sees what another has done", join(' ', @counts), '550 1 550 1 550 1');
    my $plain = visit($lab, 'HELO plain');
    settle($lab, $plain);
    is("$what: sessions without it share a process", visit($lab, 'HELO plain'), $plain);
}

my $count_in_helo = "count:\n  deny condition = \${if eq{\$sender_helo_name}{count}}\n       message = %s\n  accept\n";

part('Perl ends a process' => sub {
    my ($lab) = @_;
    $lab->{exim} = exim_with($lab, 'Perl') or return skip('no program with Perl');
    start_reuse($lab, 50, main => "acl_smtp_helo = count\nperl_startup = \\\n  our \$n = 0; sub count { return ++\$n }\n",
        acls => sprintf $count_in_helo, '${perl{count}}');
    ends_each_process($lab, 'a subroutine');
    $lab->stop;
    start_reuse($lab, 50, main => "acl_smtp_helo = count\nperl_startup = \\\n  our \$n = 0; sub count { return ++\$n }\nperl_at_start\n",
        acls => sprintf $count_in_helo, '${perl{count}}');
    ends_each_process($lab, 'of an interpreter that the daemon has started');
    $lab->stop;
    start_reuse($lab, 50, main => "acl_smtp_helo = count\nperl_startup = sub count {\n", acls => sprintf $count_in_helo, '${perl{count}}');
    my $pid = visit($lab, 'HELO count');
    check('perl_startup that does not compile: its process ends, too', $lab->wait_for(sub { !is_running($pid) }));
    check('and the panic log says so', $lab->log('panic') =~ /error in perl_startup code: /, $lab->log('panic'));
    $lab->{panic_ok} = 1;
});

part('dlfunc ends a process' => sub {
    my ($lab) = @_;
    $lab->{exim} = exim_with($lab, 'Expand_dlfunc') or return skip('no program with dlfunc');
    my $object = "$lab->{dir}/count.so";
    DaemonLab::spew("$lab->{dir}/count.c", <<'C');
int count(unsigned char **yield, int argc, unsigned char **argv);
int count(unsigned char **yield, int argc, unsigned char **argv) {
  static unsigned char text[2];
  static int n;
  (void)argc; (void)argv;
  text[0] = (unsigned char)('0' + ++n % 10);
  *yield = text;
  return 0;
}
C
    my $cc = $ENV{CC} // 'cc';
    system("$cc -shared -fPIC -o $object $lab->{dir}/count.c >$lab->{dir}/cc.out 2>&1") == 0 or return skip('no compiler');
    start_reuse($lab, 50, main => "acl_smtp_helo = count\n", acls => sprintf $count_in_helo, "\${dlfunc{$object}{count}}");
    ends_each_process($lab, 'a function');
    $lab->stop;
    start_reuse($lab, 50, main => "acl_smtp_helo = count\n", acls => sprintf $count_in_helo, "\${dlfunc{$object}{absent}}");
    my $pid = visit($lab, 'HELO count');
    check('an object without the function was loaded: its process ends, too', $lab->wait_for(sub { !is_running($pid) }));
    check('and the panic log names it', $lab->log('panic') =~ /dlsym "absent" in "\Q$object\E" failed/, $lab->log('panic'));
    $lab->{panic_ok} = 1;
});

part('the daemon goes while processes wait' => sub {
    my ($lab) = @_;
    start_reuse($lab, 50, args => ['-oP', "$lab->{dir}/pid"]);
    my $waiting = visit($lab);
    settle($lab, $waiting);
    my $busy = $lab->client;
    my $second = $lab->client;
    my ($a, $b) = map { (facts($lab, $_))[0] } $busy, $second;
    bye($lab, $second);
    settle($lab, $b);
    kill 'HUP', $lab->{daemon};
    check('HUP: the one that waits ends', $lab->wait_for(sub { !is_running($b) }));
    check('the one that is busy goes on', is_running($a) && ($lab->say($busy, 'NOOP') // '') =~ /^250/);
    check('another daemon listens', $lab->wait_for(sub { (visit($lab) // '') ne '' }));
    bye($lab, $busy);
    check('and ends with its connection', $lab->wait_for(sub { !is_running($a) }));
    my $last = $lab->client;
    my ($l) = facts($lab, $last);
    $lab->stop;
    check('TERM: a session that is busy is left to end', is_running($l) && ($lab->say($last, 'NOOP') // '') =~ /^250/);
    bye($lab, $last);
    check('and does', $lab->wait_for(sub { !is_running($l) }));
});

part('waiting for long' => sub {
    my ($lab) = @_;
    start_reuse($lab, 50);
    my $pid = visit($lab);
    my $began = time;
    check('a process that nobody needs ends', $lab->wait_for(sub { !is_running($pid) }, 20));
    check('not at once', time - $began > 5, time - $began);
    check('and the next connection has another', visit($lab) ne $pid);
});
1;

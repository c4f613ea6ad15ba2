# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests of the daemon stand on: a directory with configuration, spool and mailboxes, the daemon, a client, servers that play a script.
#
#   my $lab = DaemonLab->new(exim => 'build/exim', dir => $scratch, name => 'x');
#   $lab->start(main => '...', acl => '...', routers => '...');   # the daemon, with more configuration
#   my $c = $lab->client;                                         # connected, greeting read
#   $lab->say($c, 'EHLO x');                                      # the whole reply, lines joined by "\n"
package DaemonLab;
use strict;
use warnings;
use File::Path qw(make_path);
use IO::Socket::INET;
use IO::Select;
use POSIX qw(WNOHANG);
use Time::HiRes qw(time sleep);

use constant WAIT_SEC => 20;

sub new {
    my ($class, %o) = @_;
    my $self = bless { %o, dir => "$o{dir}/$o{name}", port => 2525, pids => [], mail_user => 'games' }, $class;
    make_path($self->{dir}, "$self->{dir}/spool", "$self->{dir}/mail");
    my ($uid, $gid) = (getpwnam 'mail')[2, 3];
    chown $uid, $gid, "$self->{dir}/spool";
    chown((getpwnam 'games')[2, 3], "$self->{dir}/mail");
    chmod 0700, "$self->{dir}/mail";
    return $self;
}

sub slurp { my ($p) = @_; open my $f, '<:raw', $p or return ''; local $/; return scalar(<$f>) // '' }
sub spew { my ($p, $t) = @_; open my $f, '>:raw', $p or die "$p: $!\n"; print $f $t; close $f or die "$p: $!\n" }
sub log { my ($self, $which) = @_; return slurp("$self->{dir}/spool/log/${which}log") }

sub write_configuration {
    my ($self, %o) = @_;
    $o{ports} //= $self->{port};
    $o{tls} //= 'tls_advertise_hosts =';
    $o{$_} //= '' for qw(main acl routers transports smtp rest);
    spew("$self->{dir}/conf", <<"CONF");
primary_hostname = mx.test
qualify_domain = local.test
exim_user = mail
exim_group = mail
spool_directory = $self->{dir}/spool
log_file_path = $self->{dir}/spool/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = $o{ports}
keep_environment =
$o{tls}
host_lookup =
check_spool_space = 0
check_spool_inodes = 0
never_users = root
acl_smtp_rcpt = check_rcpt
$o{main}
begin acl
check_rcpt:
$o{acl}
  accept
begin routers
$o{routers}
box:
  driver = accept
  domains = local.test
  transport = box
there:
  driver = manualroute
  domains = far.test
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
box:
  driver = appendfile
  directory = $self->{dir}/mail/box
  maildir_format
  create_directory
  user = $self->{mail_user}
smtp:
  driver = smtp
  port = 2626
  allow_localhost
  hosts_try_chunking =
  hosts_avoid_pipelining = *
  $o{smtp}
$o{transports}
begin retry
* * F,1h,15m
$o{rest}
CONF
}

sub exim {
    my ($self, $input, @args) = @_;
    open my $in, '+>', undef or die "temporary file: $!\n";
    print $in $input;
    seek $in, 0, 0;
    my $pid = open(my $out, '-|') // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<&', $in;
        open STDERR, '>&', \*STDOUT;
        exec { $self->{exim} } $self->{exim}, '-C', "$self->{dir}/conf", @args or POSIX::_exit(127);
    }
    local $/;
    my $text = <$out> // '';
    close $out;
    $self->{status} = $?;
    return $text;
}

sub start {
    my ($self, %o) = @_;
    $self->write_configuration(%o);
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$self->{dir}/out";
        open STDERR, '>&', \*STDOUT;
        exec { $self->{exim} } $self->{exim}, '-C', "$self->{dir}/conf", '-bdf', @{ $o{args} // [] } or POSIX::_exit(127);
    }
    push @{ $self->{pids} }, $pid;
    $self->{daemon} = $pid;
    return if $self->wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}) });
    die 'the daemon did not start: ' . slurp("$self->{dir}/out") . $self->log('main') . "\n";
}

sub stop {
    my ($self) = @_;
    kill 'TERM', @{ $self->{pids} };
    for my $pid (@{ $self->{pids} }) {
        next if $self->wait_for(sub { waitpid($pid, WNOHANG) != 0 }, 8);
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }
    $self->{pids} = [];
}

# The first true value of the code, undef after a while.
sub wait_for {
    my ($self, $code, $sec) = @_;
    my $end = time + ($sec // WAIT_SEC);
    while (1) {
        my $v = $code->();
        return $v if $v;
        return if time > $end;
        sleep 0.02;
    }
}

sub log_has { my ($self, $re, $sec) = @_; return $self->wait_for(sub { $self->log('main') =~ $re }, $sec) }

# ---- a client -----------------------------------------------------------------------------------------------------------

sub connect {
    my ($self, %o) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => WAIT_SEC, %o) or die "connect: $!\n";
    $s->autoflush(1);
    return { io => $s, buffer => '' };
}

# One reply; '' at the end of the connection, undef when none comes.
sub reply {
    my ($self, $c, $sec) = @_;
    my $end = time + ($sec // WAIT_SEC);
    while ($c->{buffer} !~ /^(?:\d\d\d-.*\r\n)*\d\d\d(?: .*)?\r\n/) {
        my $left = $end - time;
        return if $left <= 0 || !IO::Select->new($c->{io})->can_read($left);
        my $n = sysread $c->{io}, $c->{buffer}, 65536, length $c->{buffer};
        return '' unless $n;
    }
    $c->{buffer} =~ s/^((?:\d\d\d-.*\r\n)*\d\d\d(?: .*)?)\r\n//;
    my $text = $1;
    $text =~ s/\r//g;
    return $text;
}

sub say { my ($self, $c, $line) = @_; syswrite $c->{io}, "$line\r\n"; return $self->reply($c) }

sub client {
    my ($self, %o) = @_;
    my $c = $self->connect(%o);
    $c->{greeting} = $self->reply($c);
    return $c;
}

# A whole message over a new connection; the last reply.
sub send_message {
    my ($self, $sender, @recipients) = @_;
    my $c = $self->client;
    $self->say($c, 'EHLO client.test');
    $self->say($c, "MAIL FROM:<$sender>");
    my @bad = grep { !/^250/ } map { $self->say($c, "RCPT TO:<$_>") } @recipients;
    return $bad[0] if @bad;
    $self->say($c, 'DATA');
    my $reply = $self->say($c, "Subject: x\r\n\r\nbody\r\n.");
    $self->say($c, 'QUIT');
    return $reply;
}

# ---- a server that plays a script ---------------------------------------------------------------------------------------

# Each connection to the port is given to the code, in a process of its own, one after the other.
sub serve {
    my ($self, $port, $code) = @_;
    my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 20, ReuseAddr => 1) or die "port $port: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        $SIG{TERM} = 'DEFAULT';
        while (my $s = $l->accept) { $s->autoflush(1); eval { $code->($s) }; close $s }
        POSIX::_exit(0);
    }
    push @{ $self->{pids} }, $pid;
    return $pid;
}

# An SMTP server that takes everything and notes each command in $file.
sub sink {
    my ($self, $port, $file) = @_;
    return $self->serve($port, sub {
        my ($s) = @_;
        open my $note, '>>', $file or return;
        $note->autoflush(1);
        print $note "connect\n";
        print $s "220 sink\r\n";
        my $in_data = 0;
        while (my $line = <$s>) {
            $line =~ s/\r?\n$//;
            if ($in_data) {
                if ($line eq '.') { $in_data = 0; print $s "250 taken\r\n" }
                next;
            }
            print $note "$line\n";
            if ($line =~ /^DATA/i) { $in_data = 1; print $s "354 go\r\n" }
            elsif ($line =~ /^QUIT/i) { print $s "221 bye\r\n"; last }
            else { print $s "250 sink\r\n" }
        }
    });
}

1;
